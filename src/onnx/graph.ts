// A graph while it is drawn. Goes in: nodes, in the order data meets them. Comes out: plain lists for write.ts.
//
// A node's name is its address, `/vision/layers.3/attn/qkv/MatMul`: `scope()` goes one step down the address, so a
// part of a model can be drawn without knowing where in the model it stands. Knows no BLIP-2.

import { BYTES_PER_ELEMENT, type DataType } from './proto.ts'

/** The output of a node, an input or a constant: what nodes are joined by. */
export interface Value {
  readonly name: string
}

/** A dimension is a size, or the name of a size known only when the graph runs. */
export type Dim = number | string

export type Attribute = number | string | readonly number[] | { float: number }

export interface Node {
  name: string
  type: string
  domain: string
  inputs: string[]
  outputs: string[]
  attributes: Record<string, Attribute>
}

export interface ValueInfo {
  name: string
  type: DataType
  dims: Dim[]
}

/** A tensor whose bytes are made when the file is written, piece by piece, and never held as a whole. */
export interface InitializerTensor {
  type: DataType
  dims: number[]
  /** Names of what it is made from, elsewhere: what it waits for. */
  sources: readonly string[]
  /** Little-endian, row-major; the pieces together are exactly the tensor. */
  bytes(): AsyncIterable<Uint8Array>
}

interface Initializer {
  name: string
  tensor: InitializerTensor
  sizeBytes: number
  /** The same bytes under other names and shapes. */
  views: { name: string; dims: number[] }[]
}

interface GraphParts {
  name: string
  nodes: Node[]
  inputs: ValueInfo[]
  outputs: ValueInfo[]
  inlineInitializers: { name: string; type: DataType; dims: number[]; bytes: Uint8Array }[]
  initializers: Initializer[]
  taken: Set<string>
}

/** Contrib operators of onnxruntime: docs/ContribOperators.md in its repository. */
export const MICROSOFT = 'com.microsoft'

export class Graph {
  readonly parts: GraphParts
  readonly path: string

  private constructor(parts: GraphParts, path: string) {
    this.parts = parts
    this.path = path
  }

  static named(name: string): Graph {
    const parts = {
      name,
      nodes: [],
      inputs: [],
      outputs: [],
      inlineInitializers: [],
      initializers: [],
      taken: new Set<string>(),
    }
    return new Graph(parts, `/${name}`)
  }

  /** The same graph, one step further down the address. */
  scope(step: string): Graph {
    return new Graph(this.parts, `${this.path}/${step}`)
  }

  input(name: string, type: DataType, dims: Dim[]): Value {
    this.parts.inputs.push({ name, type, dims })
    return { name }
  }

  /** Gives a value the name under which the graph hands it out. */
  output(name: string, value: Value, type: DataType, dims: Dim[]): void {
    this.parts.outputs.push({ name, type, dims })
    this.parts.nodes.push({
      name: this.#unique(`/${this.parts.name}/${name}`),
      type: 'Identity',
      domain: '',
      inputs: [value.name],
      outputs: [name],
      attributes: {},
    })
  }

  /** One node with one output. An absent optional input is `undefined`. */
  op(
    type: string,
    inputs: (Value | undefined)[],
    attributes: Record<string, Attribute> = {},
    domain = '',
  ): Value {
    return this.ops(type, inputs, 1, attributes, domain)[0]!
  }

  /** One node with several outputs. */
  ops(
    type: string,
    inputs: (Value | undefined)[],
    outputCount: number,
    attributes: Record<string, Attribute> = {},
    domain = '',
  ): Value[] {
    const name = this.#unique(`${this.path}/${type}`)
    const outputs = Array.from({ length: outputCount }, (_, i) => `${name}:${i}`)
    const names = inputs.map((value) => value?.name ?? '')
    this.parts.nodes.push({ name, type, domain, inputs: names, outputs, attributes })
    return outputs.map((output) => ({ name: output }))
  }

  /** Small numbers that belong to the drawing itself (axes, shapes, scalars): kept inside the .onnx file. */
  int64(...values: number[]): Value {
    return this.#inlineInitializer(
      'int64',
      [values.length],
      new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer),
    )
  }

  scalar(value: number, type: 'float32' | 'int64' = 'float32'): Value {
    const bytes = type === 'int64' ? BigInt64Array.of(BigInt(value)).buffer : Float32Array.of(value).buffer
    return this.#inlineInitializer(type, [], new Uint8Array(bytes))
  }

  /** A weight: goes to the external data file. */
  initializer(step: string, tensor: InitializerTensor): Value {
    const name = this.#unique(`${this.path}/${step}`)
    const sizeBytes = tensor.dims.reduce((a, b) => a * b, 1) * BYTES_PER_ELEMENT[tensor.type]
    this.parts.initializers.push({ name, tensor, sizeBytes, views: [] })
    return { name }
  }

  /** A stored weight in another shape, without a second copy: a Reshape would be folded into one. */
  view(weight: Value, dims: number[]): Value {
    const initializer = this.parts.initializers.find(({ name }) => name === weight.name)
    if (!initializer) throw new Error(`${weight.name} is no stored weight of this graph`)
    const name = this.#unique(`${weight.name}.view`)
    initializer.views.push({ name, dims })
    return { name }
  }

  #inlineInitializer(type: DataType, dims: number[], bytes: Uint8Array): Value {
    const name = this.#unique(`${this.path}/constant`)
    this.parts.inlineInitializers.push({ name, type, dims, bytes })
    return { name }
  }

  #unique(wanted: string): string {
    let name = wanted
    for (let n = 2; this.parts.taken.has(name); n++) name = `${wanted}.${n}`
    this.parts.taken.add(name)
    return name
  }
}

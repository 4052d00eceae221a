// Builds one ONNX graph: nodes, in the order data passes through them -> plain lists that write.ts writes.
//
// A node's name is its scope and its operator: `/vision/layers.3/attn/qkv/MatMul`. `scope()` returns the same graph one
// step deeper, so a layer is built without knowing its place in the model. This folder knows no model.

import { BYTES_PER_ELEMENT, type DataType } from './proto.ts'

/** The output of a node, an input of the graph, or an initializer. */
export interface Value {
  readonly name: string
}

/** A size, or the name of a size that is known when the graph runs. */
export type Dim = number | string

/** A plain number is an integer attribute. */
export type Attribute = number | string | readonly number[] | { float: number }
type Attributes = Record<string, Attribute>
/** An absent optional input is `undefined`. */
type Inputs = (Value | undefined)[]

export interface Node {
  name: string
  type: string
  domain: string
  inputs: string[]
  outputs: string[]
  attributes: Attributes
}

export interface ValueInfo {
  name: string
  type: DataType
  dims: Dim[]
}

/** A stored tensor. Its bytes are produced piece by piece while the file is written. */
export interface InitializerTensor {
  type: DataType
  dims: number[]
  /** Names of the tensors it is made from; a build waits for them. */
  sources: readonly string[]
  /** Little-endian, row-major. The pieces together are exactly the tensor. */
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

/** Domain of onnxruntime's contrib operators: docs/ContribOperators.md in its repository. */
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

  /** The same graph; names of what is added through it begin with `path/step`. */
  scope(step: string): Graph {
    return new Graph(this.parts, `${this.path}/${step}`)
  }

  input(name: string, type: DataType, dims: Dim[]): Value {
    this.parts.inputs.push({ name, type, dims })
    return { name }
  }

  /** Makes a value an output of the graph under this name. */
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

  /** Adds a node with one output. */
  op(type: string, inputs: Inputs, attributes: Attributes = {}, domain = ''): Value {
    return this.ops(type, inputs, 1, attributes, domain)[0]!
  }

  /** Adds a node with several outputs. */
  ops(type: string, inputs: Inputs, outputCount: number, attributes: Attributes = {}, domain = ''): Value[] {
    const name = this.#unique(`${this.path}/${type}`)
    const outputs = Array.from({ length: outputCount }, (_, i) => `${name}:${i}`)
    const names = inputs.map((value) => value?.name ?? '')
    this.parts.nodes.push({ name, type, domain, inputs: names, outputs, attributes })
    return outputs.map((output) => ({ name: output }))
  }

  /** A vector of axes or sizes. It is stored inside the .onnx file. */
  int64(...values: number[]): Value {
    const { buffer } = BigInt64Array.from(values.map(BigInt))
    return this.#inlineInitializer('int64', [values.length], new Uint8Array(buffer))
  }

  /** A number of shape []. It is stored inside the .onnx file. */
  scalar(value: number, type: 'float32' | 'int64' = 'float32'): Value {
    const bytes = type === 'int64' ? BigInt64Array.of(BigInt(value)).buffer : Float32Array.of(value).buffer
    return this.#inlineInitializer(type, [], new Uint8Array(bytes))
  }

  /** A weight. It is stored in the external data file. */
  initializer(step: string, tensor: InitializerTensor): Value {
    const name = this.#unique(`${this.path}/${step}`)
    const sizeBytes = tensor.dims.reduce((a, b) => a * b, 1) * BYTES_PER_ELEMENT[tensor.type]
    this.parts.initializers.push({ name, tensor, sizeBytes, views: [] })
    return { name }
  }

  /** A weight under another shape, with the same bytes in the file. onnxruntime would fold a Reshape into a second copy. */
  view(weight: Value, dims: number[]): Value {
    const initializer = this.parts.initializers.find(({ name }) => name === weight.name)
    if (!initializer) throw new Error(`${weight.name} is not an initializer of this graph`)
    const name = this.#unique(`${weight.name}.view`)
    initializer.views.push({ name, dims })
    return { name }
  }

  #inlineInitializer(type: DataType, dims: number[], bytes: Uint8Array): Value {
    const name = this.#unique(`${this.path}/constant`)
    this.parts.inlineInitializers.push({ name, type, dims, bytes })
    return { name }
  }

  #unique(base: string): string {
    let name = base
    for (let n = 2; this.parts.taken.has(name); n++) name = `${base}.${n}`
    this.parts.taken.add(name)
    return name
  }
}

// Builds one ONNX graph: nodes, in the order data passes through them -> lists of ONNX's messages that write.ts writes.
//
// A node's name is its scope and its operator: `encoder.layers.3.mlp.fc1/MatMul`; a weight's is its scope and its own name.
// `scope()` returns the same graph one step deeper, so a layer is built without knowing its place in the model. This
// folder knows no model.

import { ATTRIBUTE_TYPE, BYTES_PER_ELEMENT, DATA_TYPE, type DataType } from './proto.ts'

/** The output of a node, an input of the graph, or an initializer. */
export interface Value {
  readonly name: string
}

/** A size, or the name of a size that is known when the graph runs. */
type Dim = number | string

/** A plain number is an integer attribute. */
type Attribute = number | string | readonly number[] | { float: number }
type Attributes = Record<string, Attribute>
/** An absent optional input is `undefined`. */
type Inputs = (Value | undefined)[]

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

/** An input or an output of a graph. */
interface Port {
  name: string
  type: DataType
  dims: Dim[]
}

/** All scopes of a graph share it. Nodes and constants are messages of proto.ts. */
class GraphParts {
  readonly name: string
  readonly nodes: { name: string; op_type: string; input: string[]; output: string[] }[] = []
  readonly inputs: Port[] = []
  readonly outputs: Port[] = []
  readonly constants: object[] = []
  readonly initializers: Initializer[] = []
  readonly #taken = new Set<string>()

  constructor(name: string) {
    this.name = name
  }

  unique(base: string): string {
    let name = base
    for (let n = 2; this.#taken.has(name); n++) name = `${base}.${n}`
    this.#taken.add(name)
    return name
  }
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
    return new Graph(new GraphParts(name), '')
  }

  /** The same graph; names of what is added through it begin with `path.step`. */
  scope(step: string): Graph {
    return new Graph(this.parts, joined(this.path, step))
  }

  input(name: string, type: DataType, dims: Dim[]): Value {
    this.parts.inputs.push({ name, type, dims })
    return { name }
  }

  /** Makes a value an output of the graph under this name. */
  output(name: string, value: Value, type: DataType, dims: Dim[]): void {
    this.parts.outputs.push({ name, type, dims })
    const node = this.parts.unique(`${name}/Identity`)
    this.parts.nodes.push({ name: node, op_type: 'Identity', input: [value.name], output: [name] })
  }

  /** Adds a node with one output. */
  op(type: string, inputs: Inputs, attributes: Attributes = {}, domain = ''): Value {
    return this.ops(type, inputs, 1, attributes, domain)[0]!
  }

  /** Adds a node with several outputs. */
  ops(type: string, inputs: Inputs, outputCount: number, attributes: Attributes = {}, domain = ''): Value[] {
    const name = this.parts.unique(`${this.path}/${type}`)
    const outputs = Array.from({ length: outputCount }, (_, i) => ({ name: `${name}:${i}` }))
    const node = {
      name,
      op_type: type,
      domain,
      input: inputs.map((value) => value?.name ?? ''),
      output: outputs.map((value) => value.name),
      attribute: Object.entries(attributes).map(attribute),
    }
    this.parts.nodes.push(node)
    return outputs
  }

  /** A vector of axes or sizes. It is stored inside the .onnx file. */
  int64(...values: number[]): Value {
    return this.#constant('int64', [values.length], BigInt64Array.from(values.map(BigInt)))
  }

  /** A number of shape []. It is stored inside the .onnx file. */
  scalar(value: number, type: 'float32' | 'int64' | 'uint8' = 'float32'): Value {
    if (type === 'int64') return this.#constant(type, [], BigInt64Array.of(BigInt(value)))
    return this.#constant(type, [], type === 'uint8' ? Uint8Array.of(value) : Float32Array.of(value))
  }

  /** A weight. It is stored in the external data file. */
  initializer(step: string, tensor: InitializerTensor): Value {
    const name = this.parts.unique(joined(this.path, step))
    const sizeBytes = tensor.dims.reduce((a, b) => a * b, 1) * BYTES_PER_ELEMENT[tensor.type]
    this.parts.initializers.push({ name, tensor, sizeBytes, views: [] })
    return { name }
  }

  /** A weight under another shape, with the same bytes in the file. onnxruntime would fold a Reshape into a second copy. */
  view(weight: Value, dims: number[]): Value {
    const initializer = this.parts.initializers.find(({ name }) => name === weight.name)
    if (!initializer) throw new Error(`${weight.name} is not an initializer of this graph`)
    const name = this.parts.unique(`${weight.name}.view`)
    initializer.views.push({ name, dims })
    return { name }
  }

  #constant(type: DataType, dims: number[], { buffer }: BigInt64Array | Float32Array | Uint8Array): Value {
    const name = this.parts.unique(`${this.path}/constant`)
    this.parts.constants.push({ name, dims, data_type: DATA_TYPE[type], raw_data: new Uint8Array(buffer) })
    return { name }
  }
}

function attribute([name, value]: [string, Attribute]): object {
  if (typeof value === 'number') return { name, i: value, type: ATTRIBUTE_TYPE.int }
  if (typeof value === 'string') return { name, s: Buffer.from(value), type: ATTRIBUTE_TYPE.string }
  if ('float' in value) return { name, f: value.float, type: ATTRIBUTE_TYPE.float }
  return { name, ints: value, type: ATTRIBUTE_TYPE.ints }
}

function joined(path: string, step: string): string {
  return path === '' ? step : `${path}.${step}`
}

/** As ONNX's message. */
export function valueInfo({ name, type, dims }: Port): object {
  const dim = dims.map((d) => (typeof d === 'number' ? { dim_value: d } : { dim_param: d }))
  return { name, type: { tensor_type: { elem_type: DATA_TYPE[type], shape: { dim } } } }
}

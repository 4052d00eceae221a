// What one stage hands to the next: a type, dims, and elements that only this file and session.ts look into. Elements are
// in this process' memory, or on a device, where they stay until somebody reads them.

import { fromHalf } from '../half.ts'

/** Elements in this process' memory. float16 is stored as the 16 bits of each number. */
export type Elements = Float32Array | Uint16Array | BigInt64Array | Int32Array
export type ElementType = 'float32' | 'float16' | 'int64' | 'int32'

/** Elements on a device. */
export interface DeviceElements {
  /** What onnxruntime takes as an input without a copy. */
  handle: unknown
  /** Copies the elements to this process. */
  download(): Promise<Elements>
}

export class Tensor {
  readonly type: ElementType
  readonly dims: readonly number[]
  readonly #elements: Elements | DeviceElements

  constructor(type: ElementType, elements: Elements | DeviceElements, dims: readonly number[]) {
    this.type = type
    this.dims = dims
    this.#elements = elements
  }

  static float32(data: Float32Array, dims: readonly number[]): Tensor {
    return new Tensor('float32', data, dims)
  }

  static int64(values: readonly number[], dims: readonly number[]): Tensor {
    return new Tensor('int64', BigInt64Array.from(values, BigInt), dims)
  }

  get size(): number {
    return this.dims.reduce((a, b) => a * b, 1)
  }

  get byteLength(): number {
    return this.size * BYTES_PER_ELEMENT[this.type]
  }

  /** For session.ts: elements in memory, or the handle of a device. */
  get content(): Elements | DeviceElements {
    return this.#elements
  }

  /** The elements in this process' memory. Those of a tensor that is there already are not copied. */
  async elements(): Promise<Elements> {
    return 'download' in this.#elements ? await this.#elements.download() : this.#elements
  }

  /** The elements as float32. @throws TypeError for integers */
  async floats(): Promise<Float32Array> {
    const elements = await this.elements()
    if (elements instanceof Float32Array) return elements
    if (elements instanceof Uint16Array) return fromHalf(elements)
    throw new TypeError(`Expected a tensor of floats but got ${this.type}`)
  }
}

const BYTES_PER_ELEMENT: Record<ElementType, number> = { float32: 4, float16: 2, int64: 8, int32: 4 }
const CONSTRUCTORS = { float32: Float32Array, float16: Uint16Array, int64: BigInt64Array, int32: Int32Array }

/** Tensors [B, ...] of one type and row shape, one after another -> [sum of B, ...]. */
export async function concatRows(tensors: readonly Tensor[]): Promise<Tensor> {
  const [first] = tensors
  if (first && tensors.length === 1) return first
  const { type, dims } = first!
  const whole = new CONSTRUCTORS[type](tensors.reduce((size, tensor) => size + tensor.size, 0))
  let at = 0
  for (const tensor of tensors) {
    whole.set((await tensor.elements()) as never, at)
    at += tensor.size
  }
  const rows = tensors.reduce((count, tensor) => count + tensor.dims[0]!, 0)
  return new Tensor(type, whole, [rows, ...dims.slice(1)])
}

/** [B, ...] -> B tensors [1, ...], each with its own memory, so that one can be kept without the others. */
export async function splitRows(tensor: Tensor): Promise<Tensor[]> {
  const [rows = 0, ...dims] = tensor.dims
  if (rows === 1) return [tensor]
  const size = tensor.size / rows
  const elements = await tensor.elements()
  return Array.from(
    { length: rows },
    (_, i) => new Tensor(tensor.type, elements.slice(i * size, (i + 1) * size), [1, ...dims]),
  )
}

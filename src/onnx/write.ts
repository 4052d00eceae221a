// Drawn graphs -> `<name>.onnx` and, beside it, `<name>.data` with the weights.
//
// Weights pass through one at a time in pieces, so memory does not grow with the model. Each has its place in the
// data file beforehand, so they may come in any order. onnxruntime maps the data file: large tensors start on a page so
// that they can be mapped without a copy. External data: onnx/docs/ExternalData.md.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Attribute, Graph, InitializerTensor, ValueInfo } from './graph.ts'
import { ATTRIBUTE_TYPE, DATA_TYPE, EXTERNAL, ModelProto } from './proto.ts'

/** Opset 20 brought Gelu; IR 10 goes with opset 21 and below. Both are older than any onnxruntime we support. */
const OPSET = 20
const IR_VERSION = 10
const PAGE_BYTES = 4096
const SMALL_ALIGNMENT_BYTES = 64
const READ_BYTES = 4 * 1024 * 1024

export interface WrittenFile {
  path: string
  sizeBytes: number
  sha256: string
}

/** The names of a graph's two files. */
export function filesOf(graph: string): [model: string, data: string] {
  return [`${graph}.onnx`, `${graph}.data`]
}

export interface WriteOptions {
  /** Told of every piece of weights written, and of which graph. */
  onBytes?: (graph: string, count: number) => void
  /** Weights are written by rank, the lowest first; in the order of drawing among equals. */
  rank?: (tensor: InitializerTensor) => number
  /** Called when all weights of a rank are written and safe on the disk. */
  onRank?: (rank: number) => Promise<void>
  /** Ranks that an earlier run, which was broken off, has written into the same folder. */
  written?: ReadonlySet<number>
}

/** Writes all files into `folder`. */
export async function writeGraphs(
  graphs: readonly Graph[],
  folder: string,
  { onBytes = () => {}, rank = () => 0, onRank = async () => {}, written = new Set() }: WriteOptions = {},
): Promise<WrittenFile[]> {
  const layouts = graphs.map(({ parts }) => assignOffsets(parts))
  const files = new Map<string, FileHandle>()
  const behind = new WriteBehind()
  try {
    const flags = written.size > 0 ? 'r+' : 'w'
    for (const { dataPath } of layouts) files.set(dataPath, await open(join(folder, dataPath), flags))
    const placed = layouts
      .flatMap(({ graph, dataPath, weights }) => weights.map((weight) => ({ graph, dataPath, ...weight })))
      .map((weight) => ({ ...weight, rank: rank(weight.initializer.tensor) }))
      .sort((a, b) => a.rank - b.rank)
    for (const [i, { graph, dataPath, initializer, offset, rank: now }] of placed.entries()) {
      if (written.has(now)) {
        onBytes(graph, initializer.sizeBytes)
        continue
      }
      await writeAt(behind, files.get(dataPath)!, offset, initializer, (count) => onBytes(graph, count))
      if (placed[i + 1]?.rank === now) continue
      await behind.flush()
      for (const file of files.values()) await file.sync()
      await onRank(now)
    }
  } finally {
    await behind.flush().catch(() => {}) // a file must not close under a write
    for (const file of files.values()) await file.close()
  }
  const described: WrittenFile[] = []
  for (const [i, graph] of graphs.entries()) {
    const [modelPath, dataPath] = filesOf(graph.parts.name)
    await writeFile(join(folder, modelPath), encode(graph, layouts[i]!))
    for (const path of [modelPath, dataPath]) described.push(await describe(folder, path))
  }
  return described
}

interface DataLayout {
  graph: string
  dataPath: string
  weights: { initializer: Graph['parts']['initializers'][number]; offset: number }[]
}

function assignOffsets({ name, initializers }: Graph['parts']): DataLayout {
  let end = 0
  const weights = initializers.map((weight) => {
    const alignment = weight.sizeBytes >= PAGE_BYTES ? PAGE_BYTES : SMALL_ALIGNMENT_BYTES
    const offset = Math.ceil(end / alignment) * alignment
    end = offset + weight.sizeBytes
    return { initializer: weight, offset }
  })
  return { graph: name, dataPath: filesOf(name)[1], weights }
}

/** Writes behind: while one piece is on its way to the disk, the next is made. */
class WriteBehind {
  #underway: Promise<void> = Promise.resolve()

  /** Takes the piece once the one before is written; what went wrong with that is thrown here. */
  async write(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
    await this.#underway
    this.#underway = writeFully(file, bytes, position)
    this.#underway.catch(() => {}) // told where it is awaited
  }

  async flush(): Promise<void> {
    await this.#underway
  }
}

async function writeAt(
  behind: WriteBehind,
  file: FileHandle,
  offset: number,
  { name, tensor, sizeBytes }: DataLayout['weights'][number]['initializer'],
  onBytes: (count: number) => void,
): Promise<void> {
  let position = offset
  for await (const bytes of tensor.bytes()) {
    await behind.write(file, bytes, position)
    position += bytes.length
    onBytes(bytes.length)
  }
  if (position - offset !== sizeBytes) {
    throw new Error(`${name} promised ${sizeBytes} bytes and gave ${position - offset}`)
  }
}

/** One call may write less than asked, as on a disk that is nearly full. */
async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
  }
}

async function describe(folder: string, path: string): Promise<WrittenFile> {
  const hash = createHash('sha256')
  let sizeBytes = 0
  for await (const bytes of createReadStream(join(folder, path), { highWaterMark: READ_BYTES })) {
    hash.update(bytes)
    sizeBytes += bytes.length
  }
  return { path, sizeBytes, sha256: hash.digest('hex') }
}

function encode({ parts }: Graph, { dataPath, weights }: DataLayout): Uint8Array {
  const inside = parts.inlineInitializers.map(({ name, type, dims, bytes }) => ({
    name,
    dims,
    data_type: DATA_TYPE[type],
    raw_data: bytes,
  }))
  const outside = weights.flatMap(({ initializer: { name, tensor, sizeBytes, views }, offset }) =>
    [{ name, dims: tensor.dims }, ...views].map((view) => ({
      ...view,
      data_type: DATA_TYPE[tensor.type],
      data_location: EXTERNAL,
      external_data: [
        { key: 'location', value: dataPath },
        { key: 'offset', value: String(offset) },
        { key: 'length', value: String(sizeBytes) },
      ],
    })),
  )
  return ModelProto.encode({
    ir_version: IR_VERSION,
    producer_name: 'glimpse',
    opset_import: [
      { domain: '', version: OPSET },
      { domain: 'com.microsoft', version: 1 },
    ],
    graph: {
      name: parts.name,
      node: parts.nodes.map((node) => ({
        name: node.name,
        op_type: node.type,
        domain: node.domain,
        input: node.inputs,
        output: node.outputs,
        attribute: Object.entries(node.attributes).map(([name, value]) => attribute(name, value)),
      })),
      initializer: [...inside, ...outside],
      input: parts.inputs.map(valueInfo),
      output: parts.outputs.map(valueInfo),
    },
  }).finish()
}

function attribute(name: string, value: Attribute): object {
  if (typeof value === 'number') return { name, i: value, type: ATTRIBUTE_TYPE.int }
  if (typeof value === 'string') {
    return { name, s: new TextEncoder().encode(value), type: ATTRIBUTE_TYPE.string }
  }
  if ('float' in value) return { name, f: value.float, type: ATTRIBUTE_TYPE.float }
  return { name, ints: value, type: ATTRIBUTE_TYPE.ints }
}

function valueInfo({ name, type, dims }: ValueInfo): object {
  const dim = dims.map((d) => (typeof d === 'number' ? { dim_value: d } : { dim_param: d }))
  return { name, type: { tensor_type: { elem_type: DATA_TYPE[type], shape: { dim } } } }
}

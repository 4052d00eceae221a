// Graphs -> `<name>.onnx`, and `<name>.data` with the weights.
//
// Weights are written one at a time in pieces, so memory does not grow with the model. Offsets are assigned first, so
// weights can be written in any order. onnxruntime maps the data file into memory; tensors of a page or more start on a
// page, so that it maps them without a copy. Format: onnx/docs/ExternalData.md.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Attribute, Graph, InitializerTensor, ValueInfo } from './graph.ts'
import { ATTRIBUTE_TYPE, DATA_TYPE, EXTERNAL, ModelProto } from './proto.ts'

/** Opset 20 added Gelu. IR 10 belongs to opsets up to 21. Every supported onnxruntime reads both. */
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

/** Names of a graph's two files: its nodes, its weights. */
export function filesOf(graph: string): [model: string, data: string] {
  return [`${graph}.onnx`, `${graph}.data`]
}

export interface WriteOptions {
  /** Called for each piece of weights written, with its graph and its size in bytes. */
  onBytes?: (graph: string, count: number) => void
  /** Weights are written by rank, lowest first; equal ranks in the order they were added. Default: 0 for all. */
  rank?: (tensor: InitializerTensor) => number
  /** Called when all weights of a rank are written and synced to disk. */
  onRank?: (rank: number) => Promise<void>
  /** Ranks that an interrupted run has already written into the same folder. */
  written?: ReadonlySet<number>
}

/** Writes the files of all graphs into `folder`. Returns their names, sizes and checksums, .onnx before .data. */
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
    for (const [i, { graph, dataPath, initializer, offset, rank: current }] of placed.entries()) {
      if (written.has(current)) {
        onBytes(graph, initializer.sizeBytes)
        continue
      }
      await writeAt(behind, files.get(dataPath)!, offset, initializer, (count) => onBytes(graph, count))
      if (placed[i + 1]?.rank === current) continue
      await behind.flush()
      for (const file of files.values()) await file.sync()
      await onRank(current)
    }
  } finally {
    await behind.flush().catch(() => {}) // a file must not be closed during a write
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

/** Writes one piece while the caller makes the next. */
class WriteBehind {
  #pending: Promise<void> = Promise.resolve()

  /** Resolves when the piece before is written; throws that piece's error. */
  async write(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
    await this.#pending
    this.#pending = writeFully(file, bytes, position)
    this.#pending.catch(() => {}) // prevents an unhandled rejection; the next write or flush throws it
  }

  async flush(): Promise<void> {
    await this.#pending
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
    throw new Error(`${name} has ${position - offset} bytes; its dims and type need ${sizeBytes}`)
  }
}

/** One call of write() may write fewer bytes than requested, for example on a disk that is nearly full. */
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

/** The .onnx file of a graph. */
export function encode({ parts }: Graph, { dataPath, weights } = assignOffsets(parts)): Uint8Array {
  const inline = parts.inlineInitializers.map(({ name, type, dims, bytes }) => ({
    name,
    dims,
    data_type: DATA_TYPE[type],
    raw_data: bytes,
  }))
  const external = weights.flatMap(({ initializer: { name, tensor, sizeBytes, views }, offset }) =>
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
      initializer: [...inline, ...external],
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

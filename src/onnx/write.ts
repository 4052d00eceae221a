// Graphs -> `<name>.onnx`, and `<name>.data` with the weights.
//
// Weights are written one at a time in pieces, so memory does not grow with the model. Offsets are assigned first, so
// weights can be written in any order. onnxruntime maps the data file into memory; tensors of a page or more start on a
// page, so that it maps them without a copy. Format: onnx/docs/ExternalData.md.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Graph, type InitializerTensor, MICROSOFT, valueInfo } from './graph.ts'
import { DATA_TYPE, EXTERNAL, ModelProto } from './proto.ts'

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
  const files = new Map<string, FileHandle>()
  try {
    const flags = written.size > 0 ? 'r+' : 'w'
    for (const { parts } of graphs)
      files.set(parts.name, await open(join(folder, filesOf(parts.name)[1]), flags))
    const placed = graphs
      .flatMap(({ parts }) => placesOf(parts))
      .map((weight) => ({ ...weight, rank: rank(weight.tensor) }))
      .sort((a, b) => a.rank - b.rank)
    for (const [i, weight] of placed.entries()) {
      const { graph } = weight
      if (written.has(weight.rank)) {
        onBytes(graph, weight.sizeBytes)
        continue
      }
      await writeWeight(files.get(graph)!, weight, (count) => onBytes(graph, count))
      if (placed[i + 1]?.rank === weight.rank) continue
      for (const file of files.values()) await file.sync()
      await onRank(weight.rank)
    }
  } finally {
    for (const file of files.values()) await file.close()
  }
  const described: WrittenFile[] = []
  for (const graph of graphs) {
    const [modelPath, dataPath] = filesOf(graph.parts.name)
    await writeFile(join(folder, modelPath), encode(graph))
    for (const path of [modelPath, dataPath]) described.push(await describe(folder, path))
  }
  return described
}

type PlacedWeight = Graph['parts']['initializers'][number] & { graph: string; offset: number }

/** The weights of a graph with their places in its data file. */
function placesOf({ name: graph, initializers }: Graph['parts']): PlacedWeight[] {
  let end = 0
  return initializers.map((weight) => {
    const alignment = weight.sizeBytes >= PAGE_BYTES ? PAGE_BYTES : SMALL_ALIGNMENT_BYTES
    const offset = Math.ceil(end / alignment) * alignment
    end = offset + weight.sizeBytes
    return { ...weight, graph, offset }
  })
}

async function writeWeight(
  file: FileHandle,
  { name, tensor, sizeBytes, offset }: PlacedWeight,
  onBytes: (count: number) => void,
): Promise<void> {
  let at = offset
  // The stream makes the next piece while one is written.
  const pieces: AsyncIterable<Uint8Array> = Readable.from(tensor.bytes(), { highWaterMark: 1 })
  for await (const bytes of pieces) {
    // One call of write() may write fewer bytes than requested, for example on a disk that is nearly full.
    for (let done = 0; done < bytes.length; )
      done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten
    at += bytes.length
    onBytes(bytes.length)
  }
  const count = at - offset
  if (count !== sizeBytes) throw new Error(`${name} has ${count} bytes; its dims and type need ${sizeBytes}`)
}

async function describe(folder: string, path: string): Promise<WrittenFile> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(join(folder, path), { highWaterMark: READ_BYTES }), hash)
  const { size } = await stat(join(folder, path))
  return { path, sizeBytes: size, sha256: hash.digest('hex') }
}

/** The .onnx file of a graph. */
export function encode({ parts }: Graph): Uint8Array {
  const external = placesOf(parts).flatMap(({ name, tensor, sizeBytes, views, offset }) =>
    [{ name, dims: tensor.dims }, ...views].map((view) => ({
      ...view,
      data_type: DATA_TYPE[tensor.type],
      data_location: EXTERNAL,
      external_data: [
        { key: 'location', value: filesOf(parts.name)[1] },
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
      { domain: MICROSOFT, version: 1 },
    ],
    graph: {
      name: parts.name,
      node: parts.nodes,
      initializer: [...parts.constants, ...external],
      input: parts.inputs.map(valueInfo),
      output: parts.outputs.map(valueInfo),
    },
  }).finish()
}

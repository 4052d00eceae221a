// A folder of *.safetensors -> an index of tensors, whose values are read on demand and in chunks.
//
// Format: https://github.com/huggingface/safetensors (README "Format"): u64 header length, JSON header, bytes. The header
// is checked against the size of the file before anything else is read.

import { type FileHandle, open, readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { ArtifactError } from '../errors.ts'
import { toFloat32 } from '../quantize/kernels.ts'
import { FLOAT_BYTES, type FloatDtype, type Values } from '../quantize/matrix.ts'
import { parseJson, readJson, reasonOf, statFile } from './files.ts'

/** A tenth of the format's limit, which takes ten seconds to parse; 50 times what the largest BLIP-2 needs. */
const MAX_HEADER_BYTES = 10_000_000
/** Small enough for memory, large enough for the throughput of disks. */
const CHUNK_BYTES = 1024 * 1024
export const WEIGHTS = 'model.safetensors'
const WEIGHT_INDEX = 'model.safetensors.index.json'

/** float64 is read as float32. */
const WEIGHT_BYTES = { ...FLOAT_BYTES, F64: 8 } as const
/** The format's dtypes of whole bytes. */
const BYTES = {
  ...WEIGHT_BYTES,
  ...{ I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1, C64: 8 },
  ...{ F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1, F8_E4M3FNUZ: 1, F8_E5M2FNUZ: 1 },
} as const
type Dtype = keyof typeof BYTES

/** Whether weights may have this dtype. */
export function isFloat(dtype: Dtype): dtype is keyof typeof WEIGHT_BYTES {
  return Object.hasOwn(WEIGHT_BYTES, dtype)
}

const count = z.number().int().nonnegative()
const header = z.record(
  z.string(),
  z.object({ dtype: z.string(), shape: z.array(count), data_offsets: z.tuple([count, count]) }),
)

export interface TensorEntry {
  name: string
  dtype: Dtype
  shape: number[]
  file: string
  /** Position of the first byte in the file. */
  offset: number
  sizeBytes: number
}

export interface TensorFiles {
  entries: Map<string, TensorEntry>
  /** Of all files together. */
  sizeBytes: number
  /** File names, in the order in which they can be read. */
  files: readonly string[]
  /** Yields whole rows of the first dimension. A chunk is valid until the next one is requested. Floats only. */
  rows(entry: TensorEntry): AsyncGenerator<Values>
  /** Called when a file is not read any more. */
  release?(file: string): Promise<void>
  /** Called at the end, also after an error. */
  close?(): Promise<void>
}

/** @throws ArtifactError `no_checkpoint`, `no_weights`, `bad_weights` or `unreadable_file` */
export async function openSafetensors(folder: string): Promise<TensorFiles> {
  const names = await readdir(folder).catch((cause: unknown) => {
    const message = `The folder ${folder} can't be read. Give the folder of a checkpoint, with config.json and *.safetensors.`
    throw new ArtifactError('no_checkpoint', message, { cause })
  })
  const files = await weightFilesAmong(names, folder, (file) => readJson(folder, file))
  const headers: TensorEntry[][] = []
  let sizeBytes = 0
  for (const file of files) {
    const { handle, fileBytes } = await openFile(folder, file)
    const read = async (position: number, length: number) =>
      (await handle.read(Buffer.alloc(length), 0, length, position)).buffer
    const header = parseHeader(file, fileBytes, read).finally(() => handle.close())
    headers.push((await header).entries)
    sizeBytes += fileBytes
  }
  return { entries: indexOf(headers), sizeBytes, files, rows: (entry) => rowsIn(folder, entry) }
}

/** By name. A tensor in two files is read from the later one, as in transformers 5.18 (`_load_pretrained_model`). */
export function indexOf(headers: readonly (readonly TensorEntry[])[]): Map<string, TensorEntry> {
  return new Map(headers.flat().map((entry) => [entry.name, entry]))
}

/**
 * The rows of a tensor, read from its file in `folder`. The next chunk is read while the caller works on the current one.
 * @throws ArtifactError `no_weights` or `bad_weights`
 */
export async function* rowsIn(folder: string, entry: TensorEntry): AsyncGenerator<Values> {
  const { dtype, file, offset, sizeBytes } = entry
  const name = `${entry.name} in ${file}`
  if (!isFloat(dtype)) throw new Error(`${name} is ${dtype}`)
  if (sizeBytes === 0) return
  const rowBytes = sizeBytes / (entry.shape[0] ?? 1)
  const chunkBytes = Math.max(rowBytes, Math.floor(CHUNK_BYTES / rowBytes) * rowBytes)
  const { handle } = await openFile(folder, file)
  // Two buffers in turn. A stream allocates memory for each chunk, which takes as long as reading it.
  const buffers = [0, 1].map(() => new Uint8Array(Math.min(chunkBytes, sizeBytes)))
  const read = async (start: number) => {
    const buffer = buffers[(start / chunkBytes) % 2]!.subarray(0, sizeBytes - start)
    for (let done = 0; done < buffer.length; ) {
      const { bytesRead } = await handle.read(buffer, done, buffer.length - done, offset + start + done)
      if (bytesRead > 0) done += bytesRead
      else {
        const message = `${name} ends early: expected ${sizeBytes} bytes. Its file changed during the build. Download the checkpoint again.`
        throw new ArtifactError('bad_weights', message)
      }
    }
    return buffer
  }
  try {
    let next = read(0)
    for (let start = 0; start < sizeBytes; start += chunkBytes) {
      const bytes = await next
      if (start + chunkBytes < sizeBytes) next = read(start + chunkBytes)
      next.catch(() => {}) // the error surfaces where `next` is awaited
      yield valuesOf(dtype, bytes, name)
    }
  } finally {
    await handle.close() // waits for the read that is under way
  }
}

export interface WholeTensor {
  shape: number[]
  data: Float32Array | BigInt64Array
}

/**
 * Reads a small file of recorded values whole: floats as float32, ids as int64.
 * @throws ArtifactError `no_weights`, `bad_weights` or `unreadable_file`
 */
export async function readSafetensors(
  path: string,
): Promise<{ tensors: Map<string, WholeTensor>; metadata: unknown }> {
  const { handle } = await openFile(dirname(path), basename(path))
  const bytes = await handle.readFile().finally(() => handle.close())
  const read = async (position: number, length: number) => bytes.subarray(position, position + length)
  const { entries, metadata } = await parseHeader(basename(path), bytes.length, read)
  const tensors = new Map<string, WholeTensor>()
  for (const { name, dtype, shape, offset, sizeBytes } of entries) {
    const values = new Uint8Array(bytes.subarray(offset, offset + sizeBytes)) // a copy, aligned
    if (dtype === 'I64') tensors.set(name, { shape, data: new BigInt64Array(values.buffer) })
    else if (dtype === 'I32')
      tensors.set(name, { shape, data: BigInt64Array.from(new Int32Array(values.buffer), BigInt) })
    else if (isFloat(dtype))
      tensors.set(name, { shape, data: new Float32Array(toFloat32(valuesOf(dtype, values, name)).buffer) })
  }
  return { tensors, metadata }
}

async function openFile(folder: string, file: string): Promise<{ handle: FileHandle; fileBytes: number }> {
  const path = join(folder, file)
  try {
    const { size } = await statFile(path)
    return { handle: await open(path, 'r'), fileBytes: size }
  } catch (cause) {
    const message = `The file ${file} in ${folder} can't be opened: ${reasonOf(cause)}. Download it again.`
    throw new ArtifactError('no_weights', message, { cause })
  }
}

/**
 * Which of a checkpoint's files hold its weights: model.safetensors if there is one, otherwise the shards of an index
 * (`_get_resolved_checkpoint_files` in modeling_utils.py of transformers 5.18). A shard counts with all its tensors,
 * including those that the index does not name.
 * @throws ArtifactError `no_weights` or `bad_weights`
 */
export async function weightFilesAmong(
  names: readonly string[],
  where: string,
  read: (file: string) => Promise<unknown>,
): Promise<string[]> {
  const named = z.object({ transformers_weights: z.string().nullish() }).safeParse(await read('config.json'))
  const first = named.data?.transformers_weights
  const main = (first ? [first] : [WEIGHTS, WEIGHT_INDEX]).find((name) => names.includes(name))
  if (main?.endsWith('.safetensors')) return [main]
  if (main?.endsWith('.safetensors.index.json')) {
    const index = z
      .object({ weight_map: z.record(z.string(), z.string().regex(/^[^/\\]+$/)) })
      .safeParse(await read(main))
    if (!index.success) {
      const message = `${main} has no weight_map of file names. Download the checkpoint again.`
      throw new ArtifactError('bad_weights', message)
    }
    const shards = [...new Set(Object.values(index.data.weight_map))].sort()
    const missing = shards.find((shard) => !names.includes(shard))
    if (missing === undefined) return shards
    const message = `The file ${missing}, which ${main} names, is not in ${where}. Download it, or pull another --revision.`
    throw new ArtifactError('no_weights', message)
  }
  const expected = first ? `${first} (transformers_weights in config.json)` : `${WEIGHTS} or ${WEIGHT_INDEX}`
  const message = `There are no safetensors weights in ${where}; expected ${expected}.${hintFrom(names)}`
  throw new ArtifactError('no_weights', message)
}

/** What to do about weights in another form. */
function hintFrom(names: readonly string[]): string {
  const other = names.find((name) => /\.safetensors$/.test(name))
  if (other)
    return ` It has ${other}: if that holds all weights, rename it to ${WEIGHTS}; if it is one of several, download their index too.`
  const pickled = names.find((name) => /^pytorch_model.*\.bin$|\.(pth?|gguf|ckpt|h5|msgpack)$/.test(name))
  if (!pickled) return ' Download the checkpoint again.'
  return ` It has ${pickled}: load that with from_pretrained of transformers and save it with save_pretrained, which writes ${WEIGHTS}.`
}

/** @throws ArtifactError `bad_weights` or `unreadable_file`, and what `read` throws */
export async function parseHeader(
  file: string,
  fileBytes: number,
  read: (position: number, length: number) => Promise<Uint8Array>,
): Promise<{ entries: TensorEntry[]; metadata: unknown }> {
  const bad = (what: string) =>
    new ArtifactError(
      'bad_weights',
      `${file} is not a complete safetensors file: ${what}. Download it again.`,
    )
  if (fileBytes < 8) throw bad(`it has only ${fileBytes} bytes`)
  const headerBytes = Number(Buffer.from(await read(0, 8)).readBigUInt64LE(0))
  if (headerBytes > MAX_HEADER_BYTES || 8 + headerBytes > fileBytes) {
    throw bad(`its header claims ${headerBytes} bytes in a file of ${fileBytes}`)
  }
  const json = parseJson(Buffer.from(await read(8, headerBytes)).toString('utf8'), file)
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw bad('its header is not an object')
  const { __metadata__: metadata, ...tensors } = json as Record<string, unknown>
  const parsed = header.safeParse(tensors)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw bad(`its header is wrong at ${issue.path.join('.')}: ${issue.message}`)
  }
  const entries = Object.entries(parsed.data).map(([name, { dtype, shape, data_offsets }]) => {
    if (!isDtype(dtype)) throw bad(`${name} has the unknown dtype ${dtype}`)
    const [begin, end] = data_offsets
    const sizeBytes = shape.reduce((a, b) => a * b, 1) * BYTES[dtype]
    if (end - begin !== sizeBytes)
      throw bad(`${name} of ${dtype} ${shapeText(shape)} needs ${sizeBytes} bytes but has ${end - begin}`)
    const offset = 8 + headerBytes + begin
    if (offset + sizeBytes > fileBytes)
      throw bad(`${name} ends at byte ${offset + sizeBytes} of ${fileBytes}: the download is incomplete`)
    return { name, dtype, shape, file, offset, sizeBytes }
  })
  // The format allows neither overlaps nor holes. Both hide bytes from a reader that checks only the header.
  entries.sort((a, b) => a.offset - b.offset || a.sizeBytes - b.sizeBytes)
  let position = 8 + headerBytes
  for (const { name, offset, sizeBytes } of entries) {
    if (offset !== position)
      throw bad(`${name} begins at byte ${offset}, expected ${position}: tensors overlap or leave a hole`)
    position += sizeBytes
  }
  if (position !== fileBytes) throw bad(`its tensors end at byte ${position} of ${fileBytes}`)
  return { entries, metadata }
}

/** Rounds float64 to float32, as transformers does for a float32 model. `bytes` are at the start of their buffer. */
function valuesOf(dtype: FloatDtype | 'F64', bytes: Uint8Array<ArrayBuffer>, name: string): Values {
  if (dtype !== 'F64') return { dtype, bytes, name }
  const rounded = new Float32Array(new Float64Array(bytes.buffer, 0, bytes.length / 8))
  return { dtype: 'F32', bytes: new Uint8Array(rounded.buffer), name: `${name}, rounded to float32,` }
}

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`
}

function isDtype(text: string): text is Dtype {
  return Object.hasOwn(BYTES, text)
}

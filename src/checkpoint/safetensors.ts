// A folder of *.safetensors -> an index of tensors, read lazily and in pieces.
//
// Format: https://github.com/huggingface/safetensors (README "Format"): u64 header length, JSON header, bytes.
// Everything the header claims is checked against the file before anything is read.

import { type FileHandle, open, readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { ArtifactError } from '../errors.ts'
import { toFloat32 } from '../quantize/kernels.ts'
import { FLOAT_BYTES, type FloatDtype, type Values } from '../quantize/matrix.ts'
import { parseJson, readJson, reasonOf, statFile } from './files.ts'

/** The format allows ten times as much; the largest BLIP-2 needs a fiftieth. A lie of 100 MB takes ten seconds to parse. */
const MAX_HEADER_BYTES = 10_000_000
/** Pieces of this size keep memory small and disks busy. */
const PIECE_BYTES = 1024 * 1024
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

/** Whether weights may be of this kind. */
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
  /** Names of the files, in the order in which they can be read. */
  files: readonly string[]
  /** The values, whole rows of the first dimension at a time; each piece is valid until the next is asked for. Only of floats. */
  rows(entry: TensorEntry): AsyncGenerator<Values>
  /** Nothing more is read of this file. */
  release(file: string): Promise<void>
  close(): Promise<void>
}

/** Throws ArtifactError `no_checkpoint`, `no_weights`, `bad_weights` or `unreadable_file`. */
export async function openSafetensors(folder: string): Promise<TensorFiles> {
  const files = await weightFiles(folder)
  const handles = new Map<string, FileHandle>()
  const headers: TensorEntry[][] = []
  let sizeBytes = 0
  const close = async () => {
    await Promise.all([...handles.values()].map((handle) => handle.close()))
  }
  try {
    for (const file of files) {
      const { handle, fileBytes } = await openFile(folder, file)
      handles.set(file, handle)
      sizeBytes += fileBytes
      headers.push((await readHeader(handle, file, fileBytes)).entries)
    }
    return {
      entries: indexOf(headers),
      sizeBytes,
      files,
      rows: (entry) => readRows(handles.get(entry.file)!, entry),
      release: async () => {},
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** By name. A tensor that two files hold is read from the later one, as transformers 5.18 does (`_load_pretrained_model`). */
export function indexOf(headers: readonly (readonly TensorEntry[])[]): Map<string, TensorEntry> {
  return new Map(headers.flat().map((entry) => [entry.name, entry]))
}

/** The rows of a tensor of one file that stands on disk. */
export async function* rowsIn(folder: string, entry: TensorEntry): AsyncGenerator<Values> {
  const { handle } = await openFile(folder, entry.file)
  try {
    yield* readRows(handle, entry)
  } finally {
    await handle.close()
  }
}

export interface WholeTensor {
  shape: number[]
  data: Float32Array | BigInt64Array
}

/** One small file at once: recorded numbers, of floats and whole ids. Throws ArtifactError as above. */
export async function readSafetensors(
  path: string,
): Promise<{ tensors: Map<string, WholeTensor>; metadata: unknown }> {
  const file = basename(path)
  const { handle, fileBytes } = await openFile(dirname(path), file)
  try {
    const { entries, metadata } = await readHeader(handle, file, fileBytes)
    const tensors = new Map<string, WholeTensor>()
    for (const { name, dtype, shape, offset, sizeBytes } of entries) {
      const bytes = await readAt(handle, offset, sizeBytes)
      if (dtype === 'I64') tensors.set(name, { shape, data: new BigInt64Array(bytes.buffer) })
      else if (dtype === 'I32')
        tensors.set(name, { shape, data: BigInt64Array.from(new Int32Array(bytes.buffer), BigInt) })
      else if (isFloat(dtype))
        tensors.set(name, { shape, data: new Float32Array(toFloat32(valuesOf(dtype, bytes, name)).buffer) })
    }
    return { tensors, metadata }
  } finally {
    await handle.close()
  }
}

async function openFile(folder: string, file: string): Promise<{ handle: FileHandle; fileBytes: number }> {
  const path = join(folder, file)
  try {
    const { size } = await statFile(path)
    return { handle: await open(path, 'r'), fileBytes: size }
  } catch (cause) {
    throw new ArtifactError(
      'no_weights',
      `Expected the file ${file} in ${folder} but it can't be opened: ${reasonOf(cause)}. Fetch it again.`,
      { cause },
    )
  }
}

async function weightFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((cause: unknown) => {
    throw new ArtifactError(
      'no_checkpoint',
      `Expected a checkpoint folder but ${folder} can't be read. Give the folder that holds config.json and *.safetensors.`,
      { cause },
    )
  })
  return weightFilesAmong(names, folder, (file) => readJson(folder, file))
}

/**
 * The files that hold weights, of a checkpoint's files: model.safetensors, or else the shards of an index, whatever
 * other files there are (`_get_resolved_checkpoint_files` in modeling_utils.py of transformers 5.18). All tensors of a
 * shard count, also those that the index does not name. Throws ArtifactError `no_weights` or `bad_weights`.
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
    if (index.success) return [...new Set(Object.values(index.data.weight_map))].sort()
    throw new ArtifactError(
      'bad_weights',
      `Expected ${main} to hold a weight_map of file names but it does not. Fetch the checkpoint again.`,
    )
  }
  const expected = first
    ? `${first}, as transformers_weights in config.json says,`
    : `${WEIGHTS} or ${WEIGHT_INDEX}`
  throw new ArtifactError(
    'no_weights',
    `Expected safetensors weights in ${expected} in ${where} but found none.${hintFrom(names)}`,
  )
}

/** What to do with weights that are there in another form. */
function hintFrom(names: readonly string[]): string {
  const other = names.find((name) => /\.safetensors$/.test(name))
  if (other)
    return ` It has ${other}: if that holds all weights, rename it to ${WEIGHTS}; if it is one of several, fetch their index too.`
  const pickled = names.find((name) => /^pytorch_model.*\.bin$|\.(pth?|gguf|ckpt|h5|msgpack)$/.test(name))
  if (!pickled) return ' Fetch the checkpoint again.'
  return ` It has ${pickled}: load that with transformers' from_pretrained and write it with save_pretrained, which makes ${WEIGHTS}.`
}

function readHeader(handle: FileHandle, file: string, fileBytes: number) {
  return parseHeader(file, fileBytes, (position, length) => readAt(handle, position, length))
}

/** What a file holds, by its first bytes. Throws ArtifactError `bad_weights`, and what `read` throws. */
export async function parseHeader(
  file: string,
  fileBytes: number,
  read: (position: number, length: number) => Promise<Uint8Array>,
): Promise<{ entries: TensorEntry[]; metadata: unknown }> {
  const bad = (what: string) =>
    new ArtifactError(
      'bad_weights',
      `Expected ${file} to be a whole safetensors file but ${what}. Fetch it again.`,
    )
  const lengthBytes = await read(0, 8)
  if (lengthBytes.length < 8) throw bad(`it has only ${fileBytes} bytes`)
  const headerBytes = Number(Buffer.from(lengthBytes).readBigUInt64LE(0))
  if (headerBytes > MAX_HEADER_BYTES || 8 + headerBytes > fileBytes) {
    throw bad(`its header claims ${headerBytes} bytes in a file of ${fileBytes}`)
  }
  const json = parseJson(Buffer.from(await read(8, headerBytes)).toString('utf8'), file)
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw bad('its header is no object')
  const { __metadata__: metadata, ...tensors } = json as Record<string, unknown>
  const parsed = header.safeParse(tensors)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw bad(`its header is wrong at ${issue.path.join('.')}: ${issue.message}`)
  }
  const entries = Object.entries(parsed.data).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [begin, end],
      },
    ]) => {
      if (!isDtype(dtype)) throw bad(`${name} has the unknown dtype ${dtype}`)
      const sizeBytes = shape.reduce((a, b) => a * b, 1) * BYTES[dtype]
      if (end - begin !== sizeBytes)
        throw bad(`${name} of ${dtype} ${shapeText(shape)} needs ${sizeBytes} bytes but has ${end - begin}`)
      const offset = 8 + headerBytes + begin
      if (offset + sizeBytes > fileBytes)
        throw bad(
          `${name} ends at byte ${offset + sizeBytes} of a file of ${fileBytes}: the download is incomplete`,
        )
      return { name, dtype, shape, file, offset, sizeBytes }
    },
  )
  // The format allows neither overlaps nor holes: both hide bytes from whoever checks only the header.
  entries.sort((a, b) => a.offset - b.offset || a.sizeBytes - b.sizeBytes)
  let position = 8 + headerBytes
  for (const { name, offset, sizeBytes } of entries) {
    if (offset !== position)
      throw bad(
        `${name} begins at byte ${offset} where ${position} was its turn: tensors overlap or leave a hole`,
      )
    position += sizeBytes
  }
  if (position !== fileBytes) throw bad(`its tensors end at byte ${position} of ${fileBytes}`)
  return { entries, metadata }
}

async function* readRows(handle: FileHandle, entry: TensorEntry): AsyncGenerator<Values> {
  const { dtype } = entry
  const name = `${entry.name} in ${entry.file}`
  if (!isFloat(dtype)) throw new Error(`${name} is ${dtype}`)
  const rowBytes = entry.sizeBytes / (entry.shape[0] ?? 1)
  const pieceBytes = Math.max(rowBytes, Math.floor(PIECE_BYTES / rowBytes) * rowBytes)
  // Two buffers in turn: while one piece is worked on, the next is read.
  const buffers = [0, 1].map(() => new Uint8Array(Math.min(pieceBytes, entry.sizeBytes)))
  const piece = (number: number) => {
    const at = number * pieceBytes
    const buffer = buffers[number % 2]!
    return readInto(handle, entry.offset + at, buffer.subarray(0, Math.min(pieceBytes, entry.sizeBytes - at)))
  }
  const count = Math.ceil(entry.sizeBytes / pieceBytes)
  let next = piece(0)
  for (let number = 0; number < count; number++) {
    const { bytes, whole } = await next
    if (!whole) {
      throw new ArtifactError(
        'bad_weights',
        `Expected ${name} to hold ${entry.sizeBytes} bytes but it ends early: its file changed meanwhile. Fetch the checkpoint again.`,
      )
    }
    if (number + 1 < count) {
      next = piece(number + 1)
      next.catch(() => {}) // told where it is awaited
    }
    yield valuesOf(dtype, bytes, name)
  }
}

/** float64 rounded to float32, as transformers does for a model in float32. `bytes` begin their buffer. */
function valuesOf(dtype: FloatDtype | 'F64', bytes: Uint8Array<ArrayBuffer>, name: string): Values {
  if (dtype !== 'F64') return { dtype, bytes, name }
  const rounded = new Float32Array(new Float64Array(bytes.buffer, 0, bytes.length / 8))
  return { dtype: 'F32', bytes: new Uint8Array(rounded.buffer), name: `${name}, rounded to float32,` }
}

async function readAt(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  return (await readInto(handle, position, new Uint8Array(length))).bytes
}

/** Fills the buffer; `bytes` is less of it, and not `whole`, where the file ends before. */
async function readInto(
  handle: FileHandle,
  position: number,
  buffer: Uint8Array<ArrayBuffer>,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; whole: boolean }> {
  let done = 0
  while (done < buffer.length) {
    const { bytesRead } = await handle.read(buffer, done, buffer.length - done, position + done)
    if (bytesRead === 0) return { bytes: buffer.subarray(0, done), whole: false }
    done += bytesRead
  }
  return { bytes: buffer, whole: true }
}

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`
}

function isDtype(text: string): text is Dtype {
  return Object.hasOwn(BYTES, text)
}

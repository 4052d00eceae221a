// A folder of *.safetensors -> an index of tensors, read lazily and in pieces.
//
// Format: https://github.com/huggingface/safetensors (README "Format"): u64 header length, JSON header, bytes.
// Everything the header claims is checked against the file before anything is read.

import { type FileHandle, open, readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { z } from 'zod'
import { ArtifactError } from '../errors.ts'
import { parseJson, readJson, reasonOf, statFile } from './files.ts'

/** The format allows ten times as much; the largest BLIP-2 needs a fiftieth. A lie of 100 MB takes ten seconds to parse. */
const MAX_HEADER_BYTES = 10_000_000
/** Pieces of this size keep memory small and disks busy. */
const PIECE_BYTES = 8 * 1024 * 1024
const INDEX = 'model.safetensors.index.json'

const BYTES = { F32: 4, F16: 2, BF16: 2, F64: 8, I64: 8, I32: 4, I16: 2, I8: 1, U8: 1, BOOL: 1 } as const
type Dtype = keyof typeof BYTES
/** What weights may be. */
export const FLOATS: readonly Dtype[] = ['F32', 'F16', 'BF16']

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
  /** The values as float32, whole rows of the first dimension at a time. Only of FLOATS. */
  rows(entry: TensorEntry): AsyncGenerator<Float32Array>
  close(): Promise<void>
}

/** Throws ArtifactError `no_checkpoint`, `no_weights`, `bad_weights` or `unreadable_file`. */
export async function openSafetensors(folder: string): Promise<TensorFiles> {
  const files = await weightFiles(folder)
  const entries = new Map<string, TensorEntry>()
  const handles = new Map<string, FileHandle>()
  let sizeBytes = 0
  const close = async () => {
    await Promise.all([...handles.values()].map((handle) => handle.close()))
  }
  try {
    for (const file of files) {
      const { handle, fileBytes } = await openFile(folder, file)
      handles.set(file, handle)
      sizeBytes += fileBytes
      for (const entry of (await readHeader(handle, file, fileBytes)).entries) {
        if (entries.has(entry.name)) {
          throw new ArtifactError(
            'bad_weights',
            `Expected each tensor once but ${entry.name} stands in ${entries.get(entry.name)!.file} and in ${file}. Remove the file that is left over from another download.`,
          )
        }
        entries.set(entry.name, entry)
      }
    }
  } catch (error) {
    await close()
    throw error
  }
  return { entries, sizeBytes, rows: (entry) => readRows(handles.get(entry.file)!, entry), close }
}

export interface WholeTensor {
  shape: number[]
  data: Float32Array | BigInt64Array
}

/** One small file at once: recorded numbers, of floats and I64 ids. Throws ArtifactError as above. */
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
      else if (FLOATS.includes(dtype)) tensors.set(name, { shape, data: toFloat32(bytes, dtype) })
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
  if (names.includes(INDEX)) {
    const index = z
      .object({ weight_map: z.record(z.string(), z.string().regex(/^[^/\\]+$/)) })
      .safeParse(await readJson(folder, INDEX))
    if (!index.success) {
      throw new ArtifactError(
        'bad_weights',
        `Expected ${INDEX} to hold a weight_map of file names but it does not. Fetch the checkpoint again.`,
      )
    }
    return [...new Set(Object.values(index.data.weight_map))].sort()
  }
  if (names.includes('model.safetensors')) return ['model.safetensors']
  const others = names.filter((name) => name.endsWith('.bin') || name.endsWith('.pth'))
  const hint =
    others.length > 0
      ? ` It has ${others[0]}: convert it with transformers' save_pretrained(safe_serialization=True).`
      : ''
  throw new ArtifactError(
    'no_weights',
    `Expected model.safetensors or ${INDEX} in ${folder} but found neither.${hint}`,
  )
}

async function readHeader(
  handle: FileHandle,
  file: string,
  fileBytes: number,
): Promise<{ entries: TensorEntry[]; metadata: unknown }> {
  const bad = (what: string) =>
    new ArtifactError(
      'bad_weights',
      `Expected ${file} to be a whole safetensors file but ${what}. Fetch it again.`,
    )
  const lengthBytes = await readAt(handle, 0, 8)
  if (lengthBytes.length < 8) throw bad(`it has only ${fileBytes} bytes`)
  const headerBytes = Number(Buffer.from(lengthBytes.buffer).readBigUInt64LE(0))
  if (headerBytes > MAX_HEADER_BYTES || 8 + headerBytes > fileBytes) {
    throw bad(`its header claims ${headerBytes} bytes in a file of ${fileBytes}`)
  }
  const json = parseJson(Buffer.from(await readAt(handle, 8, headerBytes)).toString('utf8'), file)
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

async function* readRows(handle: FileHandle, entry: TensorEntry): AsyncGenerator<Float32Array> {
  const rowBytes = entry.sizeBytes / (entry.shape[0] ?? 1)
  const pieceBytes = Math.max(rowBytes, Math.floor(PIECE_BYTES / rowBytes) * rowBytes)
  for (let at = 0; at < entry.sizeBytes; at += pieceBytes) {
    const wanted = Math.min(pieceBytes, entry.sizeBytes - at)
    const bytes = await readAt(handle, entry.offset + at, wanted)
    const values = toFloat32(bytes, entry.dtype)
    if (bytes.length !== wanted || !allFinite(values)) {
      const what =
        bytes.length === wanted ? 'holds NaN or infinity' : 'ends early: its file changed meanwhile'
      throw new ArtifactError(
        'bad_weights',
        `Expected ${entry.name} in ${entry.file} to hold numbers but it ${what}. Fetch the checkpoint again.`,
      )
    }
    yield values
  }
}

async function readAt(
  handle: FileHandle,
  position: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done)
    if (bytesRead === 0) return bytes.subarray(0, done)
    done += bytesRead
  }
  return bytes
}

/** One NaN would make every answer NaN, and a block of 4-bit weights would hide it. */
function allFinite(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (values[i]! - values[i]! !== 0) return false
  return true
}

/** Little-endian floats of 2 or 4 bytes -> float32. BF16 is the upper half of a float32. */
function toFloat32(bytes: Uint8Array<ArrayBuffer>, dtype: Dtype): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer, 0, Math.floor(bytes.length / 4))
  const halves = new Uint16Array(bytes.buffer, 0, Math.floor(bytes.length / 2))
  const bits = new Uint32Array(halves.length)
  if (dtype === 'BF16') for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16
  else for (let i = 0; i < halves.length; i++) bits[i] = FLOAT16_BITS[halves[i]!]!
  return new Float32Array(bits.buffer)
}

/** For each of the 65,536 float16 patterns, the float32 pattern of the same value. */
const FLOAT16_BITS = Uint32Array.from({ length: 65536 }, (_, half) => {
  const sign = (half & 0x8000) << 16
  const exponent = (half >> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 31) return sign | 0x7f800000 | (fraction << 13)
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13)
  // Subnormal: the value is fraction * 2^-24, which float32 holds exactly.
  const float = new Float32Array([fraction * 2 ** -24])
  return sign | new Uint32Array(float.buffer)[0]!
})

export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`
}

function isDtype(text: string): text is Dtype {
  return Object.hasOwn(BYTES, text)
}

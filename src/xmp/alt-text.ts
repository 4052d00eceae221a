// A picture's file and its alt text -> the text where programs look for it: in the file's XMP, or in a sidecar beside it.
//
// A plan is made first, then carried out: what is written is known before a byte changes. An alt text that is there is a
// person's unless the caller says that it is its own. Files are replaced in one step, with time and permissions kept.

import { type FileHandle, lstat, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isGlimpseError, RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { formatOf } from '../image/format.ts'
import type { Container } from './container.ts'
import { openJpeg } from './jpeg.ts'
import { openPacket } from './packet.ts'
import { openPng } from './png.ts'

/** `xmp`: into JPEG and PNG, for other formats as a sidecar. */
export type Place = 'sidecar' | 'xmp'

export interface Plan {
  /** Where the text is afterwards; `kept`: a person's text is there, and stays. */
  written: Place | 'kept'
  /** sha256 of the picture's file afterwards. */
  sha256: string
  /** @throws RequestError `cannot_write`; the picture is as it was then */
  carryOut(): Promise<void>
}

interface Options {
  /** Whether a person's alt text is replaced. */
  overwrite: boolean
  /** Texts that an earlier run wrote: they are replaced. */
  own: readonly string[]
}

/**
 * @param path of the picture; a link is followed @param bytes of its file
 * @throws RequestError `cannot_write`
 */
export async function planAltText(
  path: string,
  bytes: Uint8Array,
  text: string,
  place: Place,
  { overwrite, own }: Options,
): Promise<Plan> {
  const file = await realpath(path)
  const before = await stat(file)
  const sidecar = `${file}.xmp`
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const container = containerOf(buffer, place)
  const beside = await readSidecar(sidecar)
  const inside = openPacket(container?.packet)
  const outside = openPacket(beside)
  const sha256 = sha256Hex(bytes)
  const found = [inside.altText, outside.altText].filter((each) => each !== undefined)
  const isPersons = found.some((each) => each !== text && !own.includes(each))
  if (isPersons && !overwrite) return { written: 'kept', sha256, carryOut: async () => {} }

  if (place === 'xmp' && container) {
    if (inside.altText === text) return { written: 'xmp', sha256, carryOut: async () => {} }
    const changed = container.withPacket(inside.withAltText(text, inside.altText))
    return {
      written: 'xmp',
      sha256: sha256Hex(changed),
      carryOut: () => replaceFile(file, changed, before),
    }
  }
  const packet = outside.withAltText(text, outside.altText)
  const carryOut = async () => {
    if (outside.altText !== text) await replaceFile(sidecar, packet, beside ? await stat(sidecar) : undefined)
  }
  return { written: 'sidecar', sha256, carryOut }
}

/** Undefined for other formats, and for a sidecar also where the file cannot be read. */
function containerOf(file: Buffer, place: Place): Container | undefined {
  const format = formatOf(file)
  try {
    return format === 'jpeg' ? openJpeg(file) : format === 'png' ? openPng(file) : undefined
  } catch (error) {
    if (place === 'sidecar' && isGlimpseError(error)) return undefined
    throw error
  }
}

async function readSidecar(path: string): Promise<Buffer | undefined> {
  return await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw failed(path, cause)
  })
}

/** @param before what the file was when it was read; undefined: there is none */
async function replaceFile(
  path: string,
  bytes: Buffer,
  before: Awaited<ReturnType<typeof stat>> | undefined,
) {
  // Short, and the same each time, so that what a killed process left is replaced by the next one.
  const partial = join(dirname(path), `.glimpse-${sha256Hex(basename(path)).slice(0, 16)}.tmp`)
  let handle: FileHandle | undefined
  try {
    const now = await lstat(path).catch(() => undefined)
    if (now?.mtimeMs !== before?.mtimeMs || now?.size !== before?.size)
      throw new Error('it changed while it was read')
    if (before && (Number(before.mode) & 0o222) === 0) throw new Error('it is read-only')
    handle = await open(partial, 'w', before ? Number(before.mode) & 0o7777 : 0o666)
    await handle.writeFile(bytes)
    if (before) {
      await handle.chmod(Number(before.mode) & 0o7777)
      // Only root may give a file to its owner.
      await handle.chown(Number(before.uid), Number(before.gid)).catch(() => {})
      await handle.utimes(Number(before.atimeMs) / 1000, Number(before.mtimeMs) / 1000)
    }
    await handle.sync()
    await handle.close()
    handle = undefined
    await rename(partial, path)
  } catch (cause) {
    await handle?.close().catch(() => {})
    await rm(partial, { force: true }).catch(() => {})
    throw failed(path, cause as Error)
  }
}

function failed(path: string, cause: Error): RequestError {
  const message = `The alt text could not be written to ${path}: ${cause.message}. It was left as it is.`
  return new RequestError('cannot_write', message, { cause })
}

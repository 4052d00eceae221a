// The small files of a checkpoint: its JSON and text. Weights are read by safetensors.ts.
//
// Goes in: a folder and a file's name. Comes out: what stands there, `undefined` if nothing does. A folder, a pipe or
// a device under that name is an error, never something to wait for.

import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { ArtifactError } from '../errors.ts'

/** Ten times OPT's tokenizer.json, the largest of them: a file above it is not what its name says. */
const MAX_FILE_BYTES = 20_000_000

/** Throws ArtifactError `unreadable_file`. */
export async function readBytes(folder: string, file: string): Promise<Buffer | undefined> {
  const path = join(folder, file)
  try {
    const { size } = await statFile(path)
    if (size > MAX_FILE_BYTES) throw new Error(`it has ${size} bytes, more than ${MAX_FILE_BYTES}`)
    return await readFile(path)
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw new ArtifactError(
      'unreadable_file',
      `Expected to read ${file} in ${folder} but ${reasonOf(cause)}. Fetch the checkpoint again, or give read permission.`,
      { cause },
    )
  }
}

export async function readText(folder: string, file: string): Promise<string | undefined> {
  return (await readBytes(folder, file))?.toString('utf8')
}

export async function readJson(folder: string, file: string): Promise<unknown> {
  const text = await readText(folder, file)
  return text === undefined ? undefined : parseJson(text, file)
}

/** Throws ArtifactError `unreadable_file`. */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ArtifactError(
      'unreadable_file',
      `Expected JSON in ${file} but it can't be parsed. Fetch the checkpoint again.`,
      { cause },
    )
  }
}

/** `stat`, and an error unless it is an ordinary file: opening a pipe would wait for ever. */
export async function statFile(path: string): Promise<{ size: number }> {
  const info = await stat(path)
  if (!info.isFile()) throw new Error('it is not an ordinary file')
  return info
}

/** One line for another error's message. */
export function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) {
    return error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`).join('; ')
  }
  return error instanceof Error ? error.message : String(error)
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}

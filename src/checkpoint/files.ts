// The small files of a checkpoint: its JSON and text. Weights are read by safetensors.ts.
//
// Folder and file name -> content, or undefined if there is no such file. A folder, a pipe or a device of that name is an
// error: reading a pipe would wait for ever.

import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { ArtifactError } from '../errors.ts'

/** Ten times the largest of these files, OPT's tokenizer.json. */
const MAX_FILE_BYTES = 20_000_000

/** @throws ArtifactError `unreadable_file` */
export async function readBytes(folder: string, file: string): Promise<Buffer | undefined> {
  const path = join(folder, file)
  try {
    const { size } = await statFile(path)
    if (size > MAX_FILE_BYTES) throw new Error(`it has ${size} bytes; the limit is ${MAX_FILE_BYTES}`)
    return await readFile(path)
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    const message = `${file} in ${folder} can't be read: ${reasonOf(cause)}. Download the checkpoint again, or allow reading it.`
    throw new ArtifactError('unreadable_file', message, { cause })
  }
}

export async function readText(folder: string, file: string): Promise<string | undefined> {
  return (await readBytes(folder, file))?.toString('utf8')
}

export async function readJson(folder: string, file: string): Promise<unknown> {
  const text = await readText(folder, file)
  return text === undefined ? undefined : parseJson(text, file)
}

/** @throws ArtifactError `unreadable_file` */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ArtifactError('unreadable_file', `${file} is not valid JSON. Download the checkpoint again.`, {
      cause,
    })
  }
}

/** Throws unless `path` is a regular file. */
export async function statFile(path: string): Promise<{ size: number }> {
  const info = await stat(path)
  if (!info.isFile()) throw new Error('it is not a regular file')
  return info
}

/** One line, for the message of another error. */
export function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) {
    return error.issues
      .map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': '))
      .join('; ')
  }
  return error instanceof Error ? error.message : String(error)
}

// A picture's file -> its bytes.

import { readFile } from 'node:fs/promises'
import { RequestError } from '../errors.ts'

/** @throws RequestError `no_picture` */
export async function readPictureFile(path: string | URL): Promise<Uint8Array> {
  return await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    const known: Record<string, string> = { ENOENT: 'there is no such file', EISDIR: 'it is a folder' }
    const message = `Expected a picture at ${path} but ${known[cause.code ?? ''] ?? cause.message}. Check the path.`
    throw new RequestError('no_picture', message, { cause })
  })
}

// sha256 of text or bytes, for keys, file names and checksums.

import { createHash } from 'node:crypto'

/** 64 hexadecimal digits. */
export function sha256Hex(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

// The body of a request, whole and as it came over the wire: the signature of a chat platform is over these bytes.

import { BusyError } from './errors.ts'

/** Slack's and Discord's largest payloads are some hundred kilobytes. */
const MAX_BYTES = 1024 * 1024

/** Undefined when it has more than `maxBytes`. Throws BusyError `cancelled` when the connection breaks. */
export async function readBody(
  request: Request,
  maxBytes = MAX_BYTES,
): Promise<Buffer<ArrayBuffer> | undefined> {
  const chunks: Uint8Array[] = []
  let sizeBytes = 0
  try {
    for await (const chunk of request.body ?? []) {
      sizeBytes += chunk.length
      if (sizeBytes > maxBytes) return undefined
      chunks.push(chunk)
    }
  } catch (cause) {
    throw new BusyError('cancelled', 'Expected a whole request but its connection broke. Send it again.', {
      cause,
    })
  }
  return Buffer.concat(chunks)
}

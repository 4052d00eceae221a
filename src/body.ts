// The raw body of a request. The signature of a chat platform covers these bytes.

import { BusyError } from './errors.ts'

/** The largest payloads of Slack and Discord have some hundred kilobytes. */
const MAX_BYTES = 1024 * 1024

/** Undefined if the body has more than `maxBytes`. @throws BusyError `cancelled` if the connection breaks */
export async function readBody(
  request: Pick<Request, 'body'>,
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
    throw new BusyError('cancelled', 'The connection broke before the request was complete. Send it again.', {
      cause,
    })
  }
  return Buffer.concat(chunks)
}

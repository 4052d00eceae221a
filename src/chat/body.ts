// What a platform sends to an address of ours, as it came over the wire: a signature is over these bytes.

import { BusyError } from '../errors.ts'

/** Slack's and Discord's largest payloads are some hundred kilobytes. */
const MAX_BYTES = 1024 * 1024

/** Undefined when it is larger than anything they send. Throws BusyError `cancelled` where it breaks off. */
export async function readSignedBody(request: Request, maxBytes = MAX_BYTES): Promise<Buffer | undefined> {
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

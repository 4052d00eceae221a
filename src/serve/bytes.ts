// The body of a request -> its bytes, counted while they arrive, within a time that a slow client does not meet.

import { BusyError, RequestError } from '../errors.ts'
import { withTimeout } from '../time.ts'
import { pictureTooLarge } from './uploads.ts'

/** Minimum upload rate after the first 10 s. A slower client is refused (408), because it would hold an admission slot. */
const SLOW_START_MS = 10_000
const SLOWEST_BYTES_PER_MS = 16

/** All bytes of the body. @throws what bytesOf throws */
export async function readBytes(request: Request, limitBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bytesOf(request, limitBytes)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/**
 * Counts the bytes that arrive, because Content-Length may be absent or wrong.
 * @throws RequestError `picture_too_large`, `too_slow`; BusyError `cancelled` when the client disconnects
 */
export async function* bytesOf(request: Request, limitBytes: number): AsyncGenerator<Uint8Array> {
  if (Number(request.headers.get('content-length')) > limitBytes) throw pictureTooLarge()
  let size = 0
  const reader = request.body?.getReader()
  const startedAt = performance.now()
  while (reader) {
    const read = reader.read().catch((cause: unknown) => {
      throw new BusyError('cancelled', 'The client disconnected before its request was complete.', { cause })
    })
    const leftMs = SLOW_START_MS + size / SLOWEST_BYTES_PER_MS - (performance.now() - startedAt)
    const { done, value } = await withTimeout(read, leftMs, tooSlow)
    if (done) break
    size += value.length
    // The reader is not cancelled: that would close the connection before the client reads the refusal.
    if (size > limitBytes) throw pictureTooLarge()
    yield value
  }
}

function tooSlow(): RequestError {
  const message = `Expected the body at ${SLOWEST_BYTES_PER_MS} kB a second or more but it came slower. Send a smaller picture.`
  return new RequestError('too_slow', message)
}

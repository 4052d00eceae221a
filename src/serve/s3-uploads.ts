// Pictures on their way to an ask, in a bucket.
//
// The key of each is made from an id of ours alone. An id says when it was given, so that what cannot be there any more
// is told from what was not sent yet. Whatever nobody used, the bucket's lifecycle rule removes.

import { randomBytes } from 'node:crypto'
import { RequestError } from '../errors.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { log } from '../observe/log.ts'
import { type BucketOptions, openBucket } from '../store/bucket.ts'
import { checkId, ID, SETTING, tooLarge, type Uploads } from './uploads.ts'

/** For a large picture over a slow phone, and to ask afterwards. */
const OPEN_MS = 15 * 60_000
/** An upload that began in time may end a little later, and clocks differ. */
const LATE_MS = 5 * 60_000
const PURPOSE = { setting: SETTING, code: 'uploads_failed' as const, todo: 'Try again.' }

/** Throws SetupError `bad_place`. */
export function openUploads(
  location: string,
  options: BucketOptions = {},
  now: () => number = Date.now,
): Uploads {
  const bucket = openBucket(location, PURPOSE, options)
  return {
    async createUpload(sizeBytes) {
      if (sizeBytes > MAX_PICTURE_BYTES) throw tooLarge()
      const given = Math.floor(now() / 1000)
      const upload = given.toString(16).padStart(8, '0') + randomBytes(16).toString('hex')
      const url = await bucket.presignPut(upload, sizeBytes, OPEN_MS / 1000)
      const expires_at = new Date(1000 * given + OPEN_MS).toISOString()
      return { upload, url, method: 'PUT', headers: { 'content-length': String(sizeBytes) }, expires_at }
    },
    async read(id) {
      const ageMs = ageOf(id, now())
      if (ageMs > OPEN_MS + LATE_MS) throw expired()
      const found = await bucket.read(id, MAX_PICTURE_BYTES)
      if (!found) throw notFound()
      if (found.sizeBytes > MAX_PICTURE_BYTES) throw tooLarge()
      return found.bytes
    },
    async remove(id) {
      await bucket.remove(id).catch((error: unknown) => log.warn('upload_not_removed', error))
    },
  }
}

function ageOf(id: string, now: number): number {
  const [, given = ''] = ID.exec(checkId(id)) ?? []
  const ageMs = now - 1000 * Number.parseInt(given, 16)
  if (ageMs > -LATE_MS) return ageMs
  throw new RequestError(
    'bad_upload',
    'Expected an id that POST /v1/uploads gave but this one it never gave.',
  )
}

function notFound(): RequestError {
  return new RequestError(
    'upload_missing',
    'Expected a picture at the address that POST /v1/uploads gave but none is there: it was not sent yet, or it was used already. Send it (PUT), then ask; each can be asked about once.',
  )
}

function expired(): RequestError {
  return new RequestError(
    'upload_expired',
    `Expected an upload of the last ${OPEN_MS / 60_000} minutes but this one is older. Ask POST /v1/uploads for another and send the picture again.`,
  )
}

// Uploads in an S3 bucket: id -> presigned URL, and id -> bytes.
//
// An object's key is the upload's id, which this file makes and checks. The id holds the time it was made, which tells an
// expired upload from one not sent yet. The bucket's lifecycle rule removes uploads that no request used.

import { randomBytes } from 'node:crypto'
import { RequestError } from '../errors.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { log } from '../observe/log.ts'
import { type BucketOptions, openBucket } from '../store/bucket.ts'
import { pictureTooLarge, SETTING, type Uploads } from './uploads.ts'

/** Eight digits of the time it was made, in seconds since 1970, and 16 random bytes. */
const ID = /^([0-9a-f]{8})[0-9a-f]{32}$/
/** Time for a large picture over a slow phone, and for the request after it. */
const OPEN_MS = 15 * 60_000
/** An upload that began in time may end a little later, and clocks differ. */
const LATE_MS = 5 * 60_000
const PURPOSE = { setting: SETTING, code: 'uploads_failed' as const, todo: 'Try again.' }

/** @throws SetupError `bad_place` */
export function openUploads(
  location: string,
  options: BucketOptions = {},
  now: () => number = Date.now,
): Uploads {
  const bucket = openBucket(location, PURPOSE, options)
  return {
    async createUpload(sizeBytes) {
      if (sizeBytes > MAX_PICTURE_BYTES) throw pictureTooLarge()
      const madeAt = Math.floor(now() / 1000)
      const upload = madeAt.toString(16).padStart(8, '0') + randomBytes(16).toString('hex')
      const url = await bucket.presignPut(upload, sizeBytes, OPEN_MS / 1000)
      const expires_at = new Date(1000 * madeAt + OPEN_MS).toISOString()
      return { upload, url, method: 'PUT', headers: { 'content-length': String(sizeBytes) }, expires_at }
    },
    async read(id) {
      const ageMs = now() - 1000 * Number.parseInt(ID.exec(id)?.[1] ?? '', 16)
      if (!(ageMs > -LATE_MS)) {
        const message = 'Expected upload to be an id that POST /v1/uploads returned but got something else.'
        throw new RequestError('bad_upload', message)
      }
      if (ageMs > OPEN_MS + LATE_MS) {
        const message = `The upload is older than ${OPEN_MS / 60_000} minutes. Call POST /v1/uploads again and send the picture to the new url.`
        throw new RequestError('upload_expired', message)
      }
      const found = await bucket.read(id, MAX_PICTURE_BYTES)
      if (!found) {
        const message =
          'The upload has no picture: it was not sent yet, or it was used already. Send the picture to the url of POST /v1/uploads (PUT), then ask. Each upload can be used once.'
        throw new RequestError('upload_missing', message)
      }
      if (found.sizeBytes > MAX_PICTURE_BYTES) throw pictureTooLarge()
      return found.bytes
    },
    remove: (id) => bucket.remove(id).catch((error: unknown) => log.warn('upload_not_removed', error)),
  }
}

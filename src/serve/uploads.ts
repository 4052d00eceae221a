// Uploads for pictures too large for a request. POST /v1/uploads returns a URL that takes one picture of the announced
// size for 15 minutes. POST /v1/caption and /v1/answer then take its id in place of the picture.
//
//   size -> {upload, url, method, headers, expires_at}      id -> bytes; once answered, the upload is removed
//
// This file is the HTTP side; s3-uploads.ts stores them.

import { z } from 'zod'
import { readBody } from '../body.ts'
import { RequestError } from '../errors.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { tooLarge } from '../image/refusal.ts'

export interface PresignedUpload {
  upload: string
  url: string
  method: 'PUT'
  /** Headers to send with the PUT; the URL is signed for them. */
  headers: Record<string, string>
  /** ISO 8601. Until then the URL takes the picture, and requests take the id. */
  expires_at: string
}

export interface Uploads {
  /** @throws RequestError `picture_too_large`, UpstreamError, SetupError */
  createUpload(sizeBytes: number): Promise<PresignedUpload>
  /** @throws RequestError `bad_upload`, `upload_missing`, `upload_expired`, `picture_too_large` */
  read(id: string): Promise<Uint8Array>
  /** Never throws: the bucket's lifecycle rule removes what is left. */
  remove(id: string): Promise<void>
}

export const SETTING = 'GLIMPSE_UPLOADS'
const MAX_BODY_BYTES = 1024

export const uploadBody = z.strictObject({ size_bytes: z.number().int().positive() })

/** The response to POST /v1/uploads. @throws RequestError `no_uploads`, `bad_json`, and what createUpload throws */
export async function handleCreateUpload(request: Request, uploads: Uploads | undefined): Promise<Response> {
  if (!uploads) throw notSetUp()
  const body = await readBody(request, MAX_BODY_BYTES)
  const parsed = uploadBody.safeParse(body && (await new Response(body).json().catch(() => undefined)))
  if (!parsed.success) {
    const message = `Expected {"size_bytes": ...}, the size of the picture's file from 1 to ${MAX_PICTURE_BYTES}, as JSON.`
    throw new RequestError('bad_json', message)
  }
  const upload = await uploads.createUpload(parsed.data.size_bytes)
  return Response.json(upload, { status: 201, headers: { 'cache-control': 'no-store' } })
}

/** The picture of an upload, and how to remove it. @throws RequestError `no_uploads`, and what Uploads.read throws */
export async function readUpload(id: string, uploads: Uploads | undefined) {
  if (!uploads) throw notSetUp()
  return { image: await uploads.read(id), remove: () => uploads.remove(id) }
}

export function pictureTooLarge(): RequestError {
  return tooLarge(`a picture of at most ${MAX_PICTURE_BYTES / 1024 ** 2} MiB but got a larger one`)
}

function notSetUp(): RequestError {
  const message = `This server takes no uploads. Send the picture in the request, or ask the operator to set ${SETTING}=s3://bucket/prefix.`
  return new RequestError('no_uploads', message)
}

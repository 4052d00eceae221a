// Pictures too large for a request go to a bucket first: POST /v1/uploads gives an address that takes one picture of the
// announced size for a quarter of an hour, and POST /v1/caption and /v1/answer take its id in place of the picture.
//
//   size -> {upload, url, method, headers, expires_at}      id -> bytes, then nothing: what was used is removed
//
// Here is what HTTP sees of it; s3-uploads.ts keeps them.

import { z } from 'zod'
import { readBody } from '../body.ts'
import { RequestError } from '../errors.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'

export interface PresignedUpload {
  upload: string
  url: string
  method: 'PUT'
  /** To be sent along: the address is signed for them. */
  headers: Record<string, string>
  /** ISO 8601: until then the address takes the picture, and asks take the id. */
  expires_at: string
}

export interface Uploads {
  /** Throws RequestError `picture_too_large`, UpstreamError, SetupError. */
  createUpload(sizeBytes: number): Promise<PresignedUpload>
  /** Throws RequestError `bad_upload`, `upload_missing`, `upload_expired`, `picture_too_large`. */
  read(id: string): Promise<Uint8Array>
  /** Never throws: what stays is removed by the bucket's rule. */
  remove(id: string): Promise<void>
}

export const SETTING = 'GLIMPSE_UPLOADS'
const MIB = 1024 * 1024
const MAX_BODY_BYTES = 1024

/** Eight digits of when it was given, in seconds, and 16 bytes that nobody guesses. */
export const ID = /^([0-9a-f]{8})[0-9a-f]{32}$/

const wanted = z.strictObject({ size_bytes: z.number().int().positive() })

/** What POST /v1/uploads answers. */
export async function handleCreateUpload(request: Request, uploads: Uploads | undefined): Promise<Response> {
  if (!uploads) throw notSetUp()
  const upload = await uploads.createUpload(await sizeIn(request))
  return Response.json(upload, { status: 201, headers: { 'cache-control': 'no-store' } })
}

/** The picture an ask names by `upload`, and how to forget it once it was used. */
export async function readUpload(
  id: unknown,
  uploads: Uploads | undefined,
): Promise<{ image: Uint8Array; forget: () => Promise<void> }> {
  if (!uploads) throw notSetUp()
  const checked = checkId(id)
  return { image: await uploads.read(checked), forget: () => uploads.remove(checked) }
}

async function sizeIn(request: Request): Promise<number> {
  const body = await readBody(request, MAX_BODY_BYTES)
  // What is no JSON is no size either.
  const parsed = wanted.safeParse(body && (await new Response(body).json().catch(() => undefined)))
  if (!parsed.success) throw unreadable()
  return parsed.data.size_bytes
}

function unreadable(): RequestError {
  return new RequestError(
    'bad_json',
    `Expected {"size_bytes": ...}, the size of the picture's file from 1 to ${MAX_PICTURE_BYTES}, as JSON.`,
  )
}

/** Throws RequestError `bad_upload`. */
export function checkId(id: unknown): string {
  if (typeof id === 'string' && ID.test(id)) return id
  throw new RequestError(
    'bad_upload',
    'Expected upload to be the id that POST /v1/uploads gave but got something else.',
  )
}

export function tooLarge(): RequestError {
  return new RequestError(
    'picture_too_large',
    `Expected a picture of at most ${MAX_PICTURE_BYTES / MIB} MiB but got more. Send a smaller one.`,
  )
}

function notSetUp(): RequestError {
  return new RequestError(
    'no_uploads',
    `Expected the picture in the request: this server takes no uploads. The operator sets ${SETTING}=s3://bucket/prefix to have them.`,
  )
}

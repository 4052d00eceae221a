// Parses an S3 request as S3 does: body, conditions, checksums, ranges and signatures.

import { createHash, createHmac } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { crc32 } from 'node:zlib'

/** The decoded body, and its checksums from headers and trailers. */
export interface Sent {
  bytes: Buffer
  checksums: Record<string, string>
}

/** Decodes bodies that the SDK sends in chunks with a trailing checksum (aws-chunked, "Signature calculations"). */
export function sentOf(body: Buffer, headers: IncomingHttpHeaders): Sent {
  const checksums = Object.fromEntries(
    Object.entries(headers).filter(([name]) =>
      /^(x-amz-checksum-(crc32|sha1|sha256)|content-md5)$/.test(name),
    ),
  ) as Record<string, string>
  if (!String(headers['x-amz-content-sha256']).startsWith('STREAMING-')) return { bytes: body, checksums }
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const line = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.subarray(at, line).toString().split(';')[0]!, 16)
    if (size === 0) {
      for (const trailer of body
        .subarray(line + 2)
        .toString()
        .split('\r\n')) {
        const [name, value] = trailer.split(':')
        if (name && value) checksums[name.trim()] = value.trim()
      }
      return { bytes: Buffer.concat(parts), checksums }
    }
    parts.push(body.subarray(line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
}

/** Returns whether every received checksum matches the bytes. */
export function isWhole({ bytes, checksums }: Sent): boolean {
  return Object.entries(checksums).every(([name, value]) => checksumOf(name, bytes) === value)
}

/** Returns the checksum in the format of the header. */
export function checksumOf(name: string, bytes: Buffer): string {
  switch (name) {
    case 'x-amz-checksum-crc32': {
      const four = Buffer.alloc(4)
      four.writeUInt32BE(crc32(bytes))
      return four.toString('base64')
    }
    case 'content-md5':
      return createHash('md5').update(bytes).digest('base64')
    default:
      return createHash(name.replace('x-amz-checksum-', '')).update(bytes).digest('base64')
  }
}

/** `bytes=0-9`, `bytes=5-`, `bytes=-3` (RFC 9110, 14.1.2): undefined is the whole object, 'none' a range outside of it. */
export function rangeOf(
  header: string | undefined,
  size: number,
): { from: number; to: number } | 'none' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (first === '' && last === '') return undefined
  if (first === '') {
    const count = Math.min(Number(last), size)
    return count === 0 ? 'none' : { from: size - count, to: size - 1 }
  }
  if (Number(first) >= size) return 'none'
  return { from: Number(first), to: last === '' ? size - 1 : Math.min(Number(last), size - 1) }
}

/** Returns the error code for an invalid presigned URL, or undefined ("Authenticating Requests: Using Query Parameters"). */
export function refusalOf(
  method: string,
  url: URL,
  headers: IncomingHttpHeaders,
  secret: string,
  nowMs: number,
): string | undefined {
  const query = url.searchParams
  const date = query.get('X-Amz-Date') ?? ''
  const issued = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'))
  if (!(nowMs <= issued + 1000 * Number(query.get('X-Amz-Expires')))) return 'AccessDenied'
  const signed = query.get('X-Amz-SignedHeaders') ?? ''
  const pairs = [...query]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${quoted(name)}=${quoted(value)}`)
    .sort()
  const canonical = [
    method,
    url.pathname,
    pairs.join('&'),
    ...signed.split(';').map((name) => `${name}:${String(headers[name] ?? '').trim()}`),
    '',
    signed,
    query.get('X-Amz-Content-Sha256') ?? 'UNSIGNED-PAYLOAD',
  ].join('\n')
  const scope = (query.get('X-Amz-Credential') ?? '').split('/').slice(1)
  const text = [
    'AWS4-HMAC-SHA256',
    date,
    scope.join('/'),
    createHash('sha256').update(canonical).digest('hex'),
  ].join('\n')
  const key = scope.reduce<Buffer>((k, word) => hmac(k, word), Buffer.from(`AWS4${secret}`))
  return hmac(key, text).toString('hex') === query.get('X-Amz-Signature')
    ? undefined
    : 'SignatureDoesNotMatch'
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** Encodes by RFC 3986, which escapes more letters than encodeURIComponent. */
function quoted(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

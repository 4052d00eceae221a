// As much of S3's REST interface as the store uses, in this process: conditional writes decided in one step, pages of
// listings, and faults on demand. What it answers was compared with the documentation of PutObject, "Conditional
// writes"; test/store/moto.test.ts compares it with moto where that is installed.

import { createHash } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface S3Double {
  endpoint: string
  bucket: string
  objects: Map<string, { bytes: Buffer; etag: string; metadata: Record<string, string> }>
  /** The next requests that fit are answered with this status instead; `applied`: after doing what they asked. */
  fault(on: RegExp, status: number, times?: number, applied?: boolean): void
  close(): void
}

const PAGE = 3

export async function startS3Double(bucket = 'state'): Promise<S3Double> {
  const objects: S3Double['objects'] = new Map()
  const faults: { on: RegExp; status: number; times: number; applied: boolean }[] = []
  const server = createServer(async (request, response) => {
    const body = await buffer(request)
    const url = new URL(request.url!, 'http://s3')
    const [, name, ...rest] = decodeURIComponent(url.pathname).split('/')
    const key = rest.join('/')
    const fault = faults.find(({ on, times }) => times > 0 && on.test(`${request.method} ${key}`))
    if (fault) fault.times--
    if (fault && !fault.applied) return fail(response, fault.status, 'SlowDown')
    const end = (status: number, headers: Record<string, string> = {}, content: Buffer | string = '') =>
      fault ? fail(response, fault.status, 'InternalError') : response.writeHead(status, headers).end(content)
    if (name !== bucket) return fail(response, 404, 'NoSuchBucket')
    if (key === '') {
      if (request.method === 'HEAD') return end(200)
      return end(200, { 'content-type': 'application/xml' }, listing(url.searchParams))
    }
    const object = objects.get(key)
    switch (request.method) {
      case 'PUT': {
        if (request.headers['if-none-match'] === '*' && object)
          return fail(response, 412, 'PreconditionFailed')
        const match = request.headers['if-match']
        if (match !== undefined && !object) return fail(response, 404, 'NoSuchKey')
        if (match !== undefined && match !== object?.etag) return fail(response, 412, 'PreconditionFailed')
        const metadata = Object.fromEntries(
          Object.entries(request.headers).filter(([header]) => header.startsWith('x-amz-meta-')),
        ) as Record<string, string>
        const bytes = unchunked(body, request.headers['x-amz-content-sha256'])
        const etag = `"${createHash('md5').update(bytes).digest('hex')}"`
        objects.set(key, { bytes, etag, metadata })
        return end(200, { etag })
      }
      case 'GET':
      case 'HEAD':
        if (!object) return fail(response, 404, 'NoSuchKey')
        return end(
          200,
          { etag: object.etag, ...object.metadata },
          request.method === 'GET' ? object.bytes : '',
        )
      case 'DELETE':
        objects.delete(key)
        return end(204)
      default:
        return fail(response, 405, 'MethodNotAllowed')
    }
  })

  function listing(query: URLSearchParams): string {
    const keys = [...objects.keys()].filter((key) => key.startsWith(query.get('prefix') ?? '')).sort()
    const from = keys.filter((key) => key > (query.get('continuation-token') ?? ''))
    const page = from.slice(0, PAGE)
    const next = from.length > PAGE ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : ''
    const contents = page.map((key) => `<Contents><Key>${key}</Key></Contents>`).join('')
    return `<?xml version="1.0"?><ListBucketResult><IsTruncated>${next !== ''}</IsTruncated>${contents}${next}</ListBucketResult>`
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bucket,
    objects,
    fault: (on, status, times = 1, applied = false) => void faults.push({ on, status, times, applied }),
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

function fail(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' })
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`)
}

/** The SDK sends bodies in chunks with a checksum behind (aws-chunked, "Signature calculations"). */
function unchunked(body: Buffer, kind: string | string[] | undefined): Buffer {
  if (!String(kind).startsWith('STREAMING-')) return body
  const parts: Buffer[] = []
  for (let at = 0; ; ) {
    const line = body.indexOf('\r\n', at)
    const size = Number.parseInt(body.subarray(at, line).toString().split(';')[0]!, 16)
    if (size === 0) return Buffer.concat(parts)
    parts.push(body.subarray(line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
}

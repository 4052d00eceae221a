// A double of S3 in this process: the part of its REST interface that Glimpse uses, with ranges, atomic conditional writes,
// multipart uploads, presigned URLs, checksums, paged listings, and faults on demand. Responses follow the documentation;
// test/store/s3-conformance.ts runs the same tests against moto.

import { createHash, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { checksumOf, isWhole, rangeOf, refusalOf, sentOf } from './s3-request.ts'

export interface S3Object {
  bytes: Buffer
  etag: string
  /** Headers returned with the object. */
  metadata: Record<string, string>
  modifiedMs: number
}

/** A fault of one request. `after`: the number of bytes of the body sent before it. */
export type Fault =
  | { kind: 'status'; status: number; code?: string; headers?: Record<string, string>; applied?: boolean }
  /** `once`: the connection breaks when this resolves. Default: at once. */
  | { kind: 'reset'; after: number; once?: Promise<void> }
  | { kind: 'stall'; after: number }
  | { kind: 'short'; after: number }
  | { kind: 'flip' }
  /** The request takes effect; then the connection closes, or no response is sent. */
  | { kind: 'drop' }
  | { kind: 'silence' }

export interface S3Double {
  endpoint: string
  bucket: string
  objects: Map<string, S3Object>
  /** Requests: `GET models/a.data 0-99`, `PUT x`, `POST x?uploads`. */
  asked: string[]
  /** Adds an object. */
  put(key: string, bytes: Uint8Array | string): void
  /** Answers the next matching requests with this status; `applied`: after they took effect. */
  fault(on: RegExp, status: number, times?: number, applied?: boolean): void
  /** Applies any fault to the next matching requests. */
  plan(on: RegExp, fault: Fault, times?: number): void
  /** Called before each request; returns its fault. */
  misbehave: (request: string) => Fault | undefined
  /** Rate limit of bodies for each connection. */
  bytesPerSecond: number
  /** Number of multipart uploads in progress. */
  readonly unfinished: number
  now: () => number
  close(): void
}

interface Upload {
  key: string
  metadata: Record<string, string>
  parts: Map<number, { bytes: Buffer; etag: string }>
}

const PAGE = 3
const MIN_PART_BYTES = 5 * 1024 * 1024
const SECRET = 'test'
/** Interval at which a rate-limited connection sends. */
const TICK_MS = 20

export async function startS3Double(bucket = 'state'): Promise<S3Double> {
  const objects: S3Double['objects'] = new Map()
  const uploads = new Map<string, Upload>()
  const faults: { on: RegExp; fault: Fault; times: number }[] = []
  const double: S3Double = {
    endpoint: '',
    bucket,
    objects,
    asked: [],
    put: (key, bytes) => void store(key, Buffer.from(bytes), {}),
    fault: (on, status, times, applied = false) =>
      double.plan(on, { kind: 'status', status, applied }, times),
    plan: (on, fault, times = 1) => void faults.push({ on, fault, times }),
    misbehave: () => undefined,
    bytesPerSecond: Number.POSITIVE_INFINITY,
    get unfinished() {
      return uploads.size
    },
    now: Date.now,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }

  function store(key: string, bytes: Buffer, metadata: Record<string, string>, etag = md5(bytes)): S3Object {
    const object = { bytes, etag: `"${etag}"`, metadata, modifiedMs: double.now() }
    objects.set(key, object)
    return object
  }

  const server = createServer(async (request, response) => {
    const body = await buffer(request).catch(() => undefined)
    if (!body) return
    const url = new URL(request.url!, 'http://s3')
    const [, name, ...rest] = decodeURIComponent(url.pathname).split('/')
    const key = rest.join('/')
    const range = request.headers.range?.replace('bytes=', ' ') ?? ''
    const what = `${request.method} ${key}${url.searchParams.has('uploads') ? '?uploads' : ''}${range}`
    double.asked.push(what)
    const planned = faults.find(({ on, times }) => times > 0 && on.test(what))
    if (planned) planned.times--
    const fault = planned?.fault ?? double.misbehave(what)
    const answer = new Answer(request, response, fault, double.bytesPerSecond)
    if (fault?.kind === 'status' && !fault.applied) return answer.faulty()
    if (name !== bucket) return answer.fail(404, 'NoSuchBucket')
    if (url.searchParams.has('X-Amz-Signature')) {
      const refusal = refusalOf(request.method!, url, request.headers, SECRET, double.now())
      if (refusal) return answer.fail(403, refusal)
    }
    if (key === '') return answer.end(200, {}, request.method === 'GET' ? listing(url.searchParams) : '')
    const id = url.searchParams.get('uploadId')
    switch (request.method) {
      case 'PUT':
        return id === null ? write(answer, key, body) : putPart(answer, id, url.searchParams, body)
      case 'POST':
        return id === null ? beginUpload(answer, key) : completeUpload(answer, id, body)
      case 'GET':
      case 'HEAD':
        return read(answer, objects.get(key))
      case 'DELETE':
        if (id === null) objects.delete(key)
        else uploads.delete(id)
        return answer.end(204)
      default:
        return answer.fail(405, 'MethodNotAllowed')
    }
  })

  /** Returns undefined if the conditions of a write hold, otherwise the status and code of the error. */
  function unmet(
    headers: IncomingMessage['headers'],
    object: S3Object | undefined,
  ): [number, string] | undefined {
    if (headers['if-none-match'] === '*' && object) return [412, 'PreconditionFailed']
    const match = headers['if-match']
    if (match !== undefined && !object) return [404, 'NoSuchKey']
    return match !== undefined && match !== object?.etag ? [412, 'PreconditionFailed'] : undefined
  }

  function write(answer: Answer, key: string, body: Buffer) {
    const { headers } = answer.request
    const refusal = unmet(headers, objects.get(key))
    if (refusal) return answer.fail(...refusal)
    const sent = sentOf(body, headers)
    if (!isWhole(sent)) return answer.fail(400, 'BadDigest')
    const { etag } = store(key, sent.bytes, metadataOf(headers))
    answer.end(200, { etag })
  }

  function read(answer: Answer, object: S3Object | undefined) {
    const { headers } = answer.request
    if (!object) return answer.fail(404, 'NoSuchKey')
    const { bytes, etag, metadata, modifiedMs } = object
    if (headers['if-match'] !== undefined && headers['if-match'] !== etag)
      return answer.fail(412, 'PreconditionFailed')
    if (headers['if-none-match'] === etag) return answer.end(304, { etag })
    const told = {
      etag,
      ...metadata,
      'accept-ranges': 'bytes',
      'last-modified': new Date(modifiedMs).toUTCString(),
    }
    const range = rangeOf(headers.range, bytes.length)
    if (range === 'none')
      return answer.fail(416, 'InvalidRange', { 'content-range': `bytes */${bytes.length}` })
    if (!range) {
      const wanted = headers['x-amz-checksum-mode'] === 'ENABLED' && !etag.includes('-')
      const sum: Record<string, string> = wanted
        ? { 'x-amz-checksum-crc32': checksumOf('x-amz-checksum-crc32', bytes) }
        : {}
      return answer.end(200, { ...told, ...sum }, bytes)
    }
    const { from, to } = range
    const part = { ...told, 'content-range': `bytes ${from}-${to}/${bytes.length}` }
    answer.end(206, part, bytes.subarray(from, to + 1))
  }

  function beginUpload(answer: Answer, key: string) {
    const id = randomUUID()
    uploads.set(id, { key, metadata: metadataOf(answer.request.headers), parts: new Map() })
    const content = `<Bucket>${bucket}</Bucket><Key>${escaped(key)}</Key><UploadId>${id}</UploadId>`
    answer.end(200, {}, xml('InitiateMultipartUploadResult', content))
  }

  function putPart(answer: Answer, id: string, query: URLSearchParams, body: Buffer) {
    const upload = uploads.get(id)
    if (!upload) return answer.fail(404, 'NoSuchUpload')
    const sent = sentOf(body, answer.request.headers)
    if (!isWhole(sent)) return answer.fail(400, 'BadDigest')
    const etag = `"${md5(sent.bytes)}"`
    upload.parts.set(Number(query.get('partNumber')), { bytes: sent.bytes, etag })
    answer.end(200, { etag })
  }

  function completeUpload(answer: Answer, id: string, body: Buffer) {
    const upload = uploads.get(id)
    if (!upload) return answer.fail(404, 'NoSuchUpload')
    const listed = [...body.toString().matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part]) => ({
      number: Number(/<PartNumber>(\d+)</.exec(part!)?.[1]),
      etag: /<ETag>(.*?)</.exec(part!)?.[1]?.replaceAll('&quot;', '"'),
    }))
    const parts = listed.map(({ number }) => upload.parts.get(number))
    if (parts.length === 0 || parts.some((part, i) => part?.etag !== listed[i]!.etag))
      return answer.fail(400, 'InvalidPart')
    if (listed.some(({ number }, i) => i > 0 && number <= listed[i - 1]!.number))
      return answer.fail(400, 'InvalidPartOrder')
    if (parts.slice(0, -1).some((part) => part!.bytes.length < MIN_PART_BYTES))
      return answer.fail(400, 'EntityTooSmall')
    const refusal = unmet(answer.request.headers, objects.get(upload.key))
    if (refusal) return answer.fail(...refusal)
    uploads.delete(id)
    const sums = Buffer.concat(parts.map((part) => Buffer.from(part!.etag.slice(1, -1), 'hex')))
    const bytes = Buffer.concat(parts.map((part) => part!.bytes))
    const { etag } = store(upload.key, bytes, upload.metadata, `${md5(sums)}-${parts.length}`)
    const content = `<Key>${escaped(upload.key)}</Key><ETag>${escaped(etag)}</ETag>`
    answer.end(200, {}, xml('CompleteMultipartUploadResult', content))
  }

  function listing(query: URLSearchParams): string {
    const keys = [...objects.keys()].filter((key) => key.startsWith(query.get('prefix') ?? '')).sort()
    const from = keys.filter((key) => key > (query.get('continuation-token') ?? ''))
    const page = from.slice(0, PAGE)
    const next = from.length > PAGE ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : ''
    const contents = page.map((key) => `<Contents><Key>${escaped(key)}</Key></Contents>`).join('')
    return xml('ListBucketResult', `<IsTruncated>${next !== ''}</IsTruncated>${contents}${next}`)
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  double.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return double
}

/** Sends one response with its fault. */
class Answer {
  readonly request: IncomingMessage
  readonly #response: ServerResponse
  readonly #fault: Fault | undefined
  readonly #bytesPerSecond: number

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    fault: Fault | undefined,
    bytesPerSecond: number,
  ) {
    this.request = request
    this.#response = response
    this.#fault = fault
    this.#bytesPerSecond = bytesPerSecond
  }

  faulty() {
    if (this.#fault?.kind !== 'status') return
    const { status, code, headers } = this.#fault
    this.#write(status, { 'content-type': 'application/xml', ...headers }, problem(code ?? codeOf(status)))
  }

  fail(status: number, code: string, headers: Record<string, string> = {}) {
    this.#write(status, { 'content-type': 'application/xml', ...headers }, problem(code))
  }

  end(status: number, headers: Record<string, string> = {}, content: Buffer | string = '') {
    if (this.#fault?.kind === 'status') return this.faulty()
    const bytes = Buffer.from(content as Buffer)
    const fault = this.#fault
    const isWhole = !fault || fault.kind === 'drop' || fault.kind === 'silence'
    if (isWhole || this.request.method !== 'GET' || bytes.length === 0)
      return this.#write(status, headers, bytes)
    if (fault.kind === 'flip') {
      const wrong = Buffer.from(bytes)
      wrong[Math.floor(wrong.length / 2)]! ^= 1
      return this.#write(status, headers, wrong)
    }
    const sent = bytes.subarray(0, Math.min(fault.after, bytes.length - 1))
    if (fault.kind === 'short') return this.#write(status, headers, sent)
    this.#response.writeHead(status, { ...headers, 'content-length': bytes.length })
    this.#response.flushHeaders()
    // Flushed before the connection breaks; otherwise the reader gets no bytes at all.
    this.#response.write(sent.length > 0 ? sent : '', () => {
      if (fault.kind === 'reset') void Promise.resolve(fault.once).then(() => this.#response.destroy())
    })
  }

  #write(status: number, headers: Record<string, string>, content: Buffer | string) {
    if (this.#fault?.kind === 'silence') return
    if (this.#fault?.kind === 'drop') return void this.request.socket.destroy()
    const bytes = Buffer.from(content as Buffer)
    const hasBody = status !== 204 && status !== 304
    this.#response.writeHead(status, hasBody ? { 'content-length': bytes.length, ...headers } : headers)
    if (!hasBody || this.request.method === 'HEAD') return void this.#response.end()
    if (this.#bytesPerSecond === Number.POSITIVE_INFINITY) return void this.#response.end(bytes)
    const began = performance.now()
    let at = 0
    const tick = setInterval(() => {
      const due = Math.floor((this.#bytesPerSecond * (performance.now() - began)) / 1000)
      if (this.#response.writableLength === 0) this.#response.write(bytes.subarray(at, due))
      else return
      at = Math.min(due, bytes.length)
      if (at < bytes.length && !this.#response.destroyed) return
      clearInterval(tick)
      this.#response.end()
    }, TICK_MS)
  }
}

function metadataOf(headers: IncomingMessage['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name.startsWith('x-amz-meta-') || name === 'content-type'),
  ) as Record<string, string>
}

function codeOf(status: number): string {
  return { 403: 'AccessDenied', 404: 'NoSuchKey', 500: 'InternalError' }[status] ?? 'SlowDown'
}

function problem(code: string): string {
  return xml('Error', `<Code>${code}</Code><Message>${code}</Message>`)
}

function xml(root: string, content: string): string {
  return `<?xml version="1.0"?><${root}>${content}</${root}>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex')
}

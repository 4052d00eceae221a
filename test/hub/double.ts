// A Hugging Face hub in this process: one repository, by the interface of huggingface_hub, with faults on demand.

import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, relative } from 'node:path'

export const REPOSITORY = 'glimpse/half-shards'
export const COMMIT = 'c0ffee0123456789c0ffee0123456789c0ffee01'

/** The fault of one request for a file; `undefined` is none. */
export type Fault =
  | { kind: 'drop'; after: number }
  | { kind: 'stall'; after: number }
  | { kind: 'status'; status: number; retryAfter?: string }
  | { kind: 'wrong bytes' }
  | { kind: 'no ranges'; after?: number }
  | { kind: 'more' }
  | { kind: 'html' }
  | { kind: 'slow'; piece: number; everyMs: number }

export interface Double {
  endpoint: string
  /** Requests, `file` or `file from-to`. */
  asked: string[]
  /** Authorization headers that reached the hub, and the storage host it redirects to. */
  tokens: { hub: (string | undefined)[]; store: (string | undefined)[] }
  files: Map<string, Buffer>
  /** Faults of a file's next downloads; requests for a header have none. */
  faults: Map<string, Fault[]>
  /** A mirror whose headers have neither size nor checksum. */
  lacksChecksums?: boolean
  /** The answer in place of the repository's description. */
  api?: { status: number; body: string }
  close(): Promise<void>
}

/** Larger files have a sha256 and are on the storage host. */
const LARGE = 20_000
/** Requests for the header of a file are shorter. */
const HEADER = 256 * 1024

export async function startDouble(checkpoint: string): Promise<Double> {
  const entries = await readdir(checkpoint, { recursive: true, withFileTypes: true })
  const names = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => relative(checkpoint, join(parentPath, name)))
  const files = new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(checkpoint, name))] as const)),
  )
  const store = createServer((request, response) => {
    double.tokens.store.push(request.headers.authorization)
    void send(double, request, response)
  })
  const storeAddress = await listen(store)
  const hub = createServer((request, response) => {
    double.tokens.hub.push(request.headers.authorization)
    const url = new URL(request.url!, 'http://hub')
    if (url.pathname.startsWith('/api/')) return describe(double, url, response)
    const name = fileOf(request)
    if (request.method === 'HEAD') return head(double, name, response)
    if ((double.files.get(name)?.length ?? 0) < LARGE) return void send(double, request, response)
    response.writeHead(302, { location: `${storeAddress}${request.url}` }).end()
  })
  const double: Double = {
    endpoint: await listen(hub),
    asked: [],
    tokens: { hub: [], store: [] },
    files,
    faults: new Map(),
    async close() {
      for (const server of [hub, store]) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
    },
  }
  return double
}

async function listen(server: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function fileOf(request: IncomingMessage): string {
  const path = decodeURIComponent(new URL(request.url!, 'http://hub').pathname)
  return /\/resolve\/[^/]+\/(.*)$/.exec(path)?.[1] ?? ''
}

function checksumsOf(bytes: Buffer): { blob: string; sha256: string } {
  return {
    blob: createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex'),
    sha256: createHash('sha256').update(bytes).digest('hex'),
  }
}

function describe({ api, files }: Double, url: URL, response: ServerResponse): void {
  if (api) return void response.writeHead(api.status).end(api.body)
  if (url.pathname !== `/api/models/${REPOSITORY}/revision/main`) return void response.writeHead(404).end()
  const siblings = [...files.keys()].map((rfilename) => ({ rfilename }))
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ id: REPOSITORY, sha: COMMIT, siblings }))
}

function head({ files, lacksChecksums }: Double, name: string, response: ServerResponse): void {
  const bytes = files.get(name)
  if (!bytes) return void response.writeHead(404).end()
  const { blob, sha256 } = checksumsOf(bytes)
  if (bytes.length < LARGE) {
    return void response
      .writeHead(200, { 'content-length': bytes.length, ...(!lacksChecksums && { etag: `"${blob}"` }) })
      .end()
  }
  const linked = { 'x-linked-size': bytes.length, 'x-linked-etag': `"${sha256}"` }
  response.writeHead(302, { location: 'http://store.invalid/', ...(!lacksChecksums && linked) }).end()
}

async function send(double: Double, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const name = fileOf(request)
  const whole = double.files.get(name)
  if (!whole || !request.url!.startsWith(`/${REPOSITORY}/resolve/${COMMIT}/`))
    return void response.writeHead(404).end()
  const [, from = '0', to = ''] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? []
  double.asked.push(request.headers.range ? `${name} ${from}-${to}` : name)
  const isHeader = to !== '' && Number(to) - Number(from) < HEADER
  const fault = isHeader ? undefined : double.faults.get(name)?.shift()
  const begin = fault?.kind === 'no ranges' ? 0 : Number(from)
  let bytes = whole.subarray(begin, to === '' ? undefined : Number(to) + 1)
  if (fault?.kind === 'wrong bytes') bytes = Buffer.from(bytes.map((byte) => byte ^ 1))
  if (fault?.kind === 'more') bytes = Buffer.concat([bytes, bytes])
  if (fault?.kind === 'status') {
    return void response
      .writeHead(fault.status, fault.retryAfter ? { 'retry-after': fault.retryAfter } : {})
      .end()
  }
  if (fault?.kind === 'html') {
    return void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>sign in</html>')
  }
  const isPart = request.headers.range !== undefined && fault?.kind !== 'no ranges'
  response.writeHead(isPart ? 206 : 200, {
    'content-length': bytes.length,
    ...(isPart && { 'content-range': `bytes ${begin}-${begin + bytes.length - 1}/${whole.length}` }),
  })
  if (fault?.kind === 'slow') {
    for (let at = 0; at < bytes.length && !response.destroyed; at += fault.piece) {
      response.write(bytes.subarray(at, at + fault.piece))
      await new Promise((resolve) => setTimeout(resolve, fault.everyMs))
    }
    return void response.end()
  }
  const after = fault && 'after' in fault ? fault.after : undefined
  if (after === undefined) return void response.end(bytes)
  response.write(bytes.subarray(0, after), () => {
    if (fault!.kind !== 'stall') response.destroy()
  })
}

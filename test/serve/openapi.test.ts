// The OpenAPI document and the server agree, both ways: routes, examples, responses, errors, streams.

import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Engine } from '../../src/engine/engine.ts'
import type { RequestOf } from '../../src/engine/tasks.ts'
import { BusyError } from '../../src/errors.ts'
import { configureLog } from '../../src/observe/log.ts'
import { openApiDocument } from '../../src/serve/openapi/document.ts'
import { TINY } from '../../src/serve/openapi/examples.ts'
import { type AppOptions, createApp } from '../../src/serve/routes.ts'
import type { Uploads } from '../../src/serve/uploads.ts'
import { inMemorySearchStore } from '../search/in-memory.ts'
import { doubleEngine } from './double.ts'

interface Media {
  schema?: object
  examples?: Record<string, { value: unknown }>
  'x-events'?: Record<string, object>
}
interface Operation {
  parameters: { name?: string; in?: string; $ref?: string }[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, { content?: Record<string, Media>; headers?: Record<string, unknown> }>
}
interface Document {
  paths: Record<string, Record<string, Operation>>
  components: Record<string, Record<string, unknown>>
}

const WEBHOOK = '/slack/events'
const document = openApiDocument([WEBHOOK]) as Document
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
)

/** Every object of a response with the fields that are described, and no others. */
const closed = (schema: unknown): unknown => {
  if (Array.isArray(schema)) return schema.map(closed)
  if (typeof schema !== 'object' || schema === null) return schema
  const own = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]))
  const isClosed = own['type'] === 'object' && own['properties'] && own['additionalProperties'] === undefined
  return isClosed ? { ...own, additionalProperties: false } : own
}
const ajv = new Ajv2020({ strict: false, allErrors: true })
addFormats.default(ajv)
ajv.addSchema({ $id: 'doc', ...document } as object)
ajv.addSchema({ $id: 'closed', ...(closed({ components: document.components }) as object) })
const schemaFaults = (schema: object, value: unknown, of = 'doc') => {
  const text = JSON.stringify(of === 'closed' ? closed(schema) : schema)
  const validate = ajv.compile(JSON.parse(text.replaceAll('"#/components', `"${of}#/components`)) as object)
  return validate(value) ? [] : validate.errors
}

/** Answers every task. */
function engineOfAll(): Engine & ReturnType<typeof doubleEngine> {
  const double = doubleEngine()
  const { answer: generate } = double
  const base64 = Buffer.from(new Float32Array(32).fill(Math.sqrt(1 / 32)).buffer).toString('base64')
  const base = {
    text: 'a cat',
    model: 'double',
    picture: '',
    timings_ms: { queue: 0, image: 0, pixels: 0, vision: 0, queries: 0, tokens: 0, total: 0 },
  }
  const answer: Engine['answer'] = async (request, hooks) => {
    const { task, texts, kinds = [] } = request as RequestOf<'match'> & RequestOf<'features'>
    if (task === 'match') {
      const matches = texts.map((text) => ({ text, probability: 0.5, logits: [0, 0], contrastive: 0.1 }))
      return { ...base, matches } as never
    }
    if (task === 'features') {
      const features = kinds.map((kind) => [kind, { shape: [1, 32], data: base64 }])
      return { ...base, features: Object.fromEntries(features) } as never
    }
    return (await generate(request as never, hooks)) as never
  }
  return Object.assign(double, {
    answer,
    model: { ...double.model, vectors: { key: 'k', count: 1, width: 32 } },
  })
}

const uploads: Uploads = {
  createUpload: async () => ({
    upload: 'u',
    url: 'https://bucket.example/u',
    method: 'PUT',
    headers: { 'content-length': '1' },
    expires_at: '2026-05-01T00:00:00.000Z',
  }),
  read: async () => Buffer.from(TINY, 'base64'),
  remove: async () => {},
}
let engine: ReturnType<typeof engineOfAll>
let app: ReturnType<typeof createApp>
const appWith = (options: AppOptions = {}) => {
  const store = inMemorySearchStore()
  const handlers = { [WEBHOOK]: async () => new Response('received') }
  return createApp(engine, { report: () => {}, uploads, handlers, search: async () => store, ...options })
}
beforeEach(async () => {
  configureLog('json', { write() {} })
  engine = engineOfAll()
  app = appWith()
})

const pathOf = (path: string) =>
  path.replace('{name}', 'photos').replace('/models/{id}', '/models/double').replace('{id}', 'a/cat.png')
const send = async (path: string, method: string, body?: unknown, headers: Record<string, string> = {}) =>
  await app.request(pathOf(path), {
    method: method.toUpperCase(),
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
  })
const put = () => send('/v1/collections/{name}/pictures/{id}', 'put', { image: TINY })

/** What the document says of this response. */
async function faultsOf(operation: Operation, response: Response): Promise<unknown> {
  const { status, headers } = response
  const described = operation.responses[String(status)]
  if (!described) return `status ${status} is not described`
  const type = headers.get('content-type')?.split(';')[0] ?? ''
  const content = described.content ?? {}
  const body = await response.text()
  if (Object.keys(content).length === 0) return body === '' ? [] : 'a body is not described'
  const media = content[type] ?? content['*/*']
  if (!media) return `type ${type} of status ${status} is not described`
  const missing = Object.keys(described.headers ?? {}).filter((name) => {
    const isOptional = name === 'Idempotent-Replayed' || name === 'Retry-After'
    return !isOptional && !headers.has(name)
  })
  if (missing.length > 0) return `without the headers ${missing.join(', ')}`
  return type === 'application/json' ? schemaFaults(media.schema!, JSON.parse(body), 'closed') : []
}

test('is a valid OpenAPI 3.1 document', async () => {
  const { valid, errors } = await new Validator().validate(structuredClone(document) as never)
  expect(errors).toBeUndefined()
  expect(valid).toBe(true)
  const ids = operations.map(({ operation }) => (operation as unknown as { operationId: string }).operationId)
  expect(new Set(ids).size).toBe(ids.length)
  for (const [, name] of JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g))
    expect(document.components['schemas']).toHaveProperty(name!)
})

test('every route is described, and every route that is described exists', () => {
  const routed = app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(
      ({ method, path }) =>
        `${method} ${path.replace(/:(\w+)(\{[^}]*\})?/g, '{$1}').replace(/(.)\/$/, '$1')}`,
    )
  const described = operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`)
  expect(described.sort()).toEqual([...new Set(routed)].sort())
})

test('another method is refused with those that are described', async () => {
  for (const [path, methods] of Object.entries(document.paths)) {
    const response = await app.request(pathOf(path), { method: 'PATCH' })
    const allowed = response.headers.get('allow')?.toLowerCase().split(', ')
    expect([path, response.status, allowed?.sort()]).toEqual([path, 405, Object.keys(methods).sort()])
  }
})

describe('examples', () => {
  const examples = operations.flatMap(({ path, method, operation }) =>
    Object.entries(operation.requestBody?.content ?? {}).flatMap(([type, { examples = {} }]) =>
      Object.entries(examples).map(([name, { value }]) => ({ path, method, operation, type, name, value })),
    ),
  )
  test.each(examples)('$method $path: $name is accepted, and answered as described', async (one) => {
    const { path, method, operation, type, value } = one
    expect(schemaFaults(operation.requestBody!.content[type]!.schema!, value)).toEqual([])
    await put()
    const response = await send(path, method, value)
    expect(response.status).toBeLessThan(300)
    expect(await faultsOf(operation, response)).toEqual([])
  })

  test('every route with a JSON body has one', () => {
    const without = operations.filter(
      ({ path, operation }) =>
        operation.requestBody && path !== WEBHOOK && !examples.some((one) => one.path === path),
    )
    expect(without).toEqual([])
  })
})

test('routes without a body answer as described', async () => {
  await put()
  const bare = operations.filter(({ operation, method }) => !operation.requestBody && method === 'get')
  const faults = await Promise.all(
    bare.map(async ({ path, method, operation }) => [
      path,
      await faultsOf(operation, await send(path, method)),
    ]),
  )
  expect(faults.filter(([, all]) => JSON.stringify(all) !== '[]')).toEqual([])
  for (const path of ['/v1/collections/{name}/pictures/{id}', '/v1/collections/{name}']) {
    const response = await send(path, 'delete')
    expect(await faultsOf(document.paths[path]!['delete']!, response)).toEqual([])
  }
})

describe('errors have the form that is described:', () => {
  const faults = async (path: string, method: string, response: Response) => {
    expect(response.status).toBeGreaterThanOrEqual(400)
    return await faultsOf(document.paths[path]![method]!, response)
  }

  test('of bodies that no route accepts', async () => {
    for (const { path, method, operation } of operations) {
      if (!operation.requestBody || path === WEBHOOK) continue
      for (const body of [{ nothing: 1 }, [], 'text']) {
        const response = await send(path, method, body)
        expect([path, await faults(path, method, response)]).toEqual([path, []])
      }
    }
  })

  test('of no token, of a server that is busy, fails or stops', async () => {
    const inference = ['/v1/caption', '/v1/chat/completions', '/v1/embeddings', '/invocations']
    const bodies: Record<string, object> = { '/v1/embeddings': { input: 'a' } }
    for (const path of inference) {
      const { examples = {} } = document.paths[path]!['post']!.requestBody!.content['application/json']!
      const body = bodies[path] ?? Object.values(examples)[0]!.value
      for (const code of ['busy', 'deadline', 'restarting'] as const) {
        app = createApp(
          Object.assign(engineOfAll(), { answer: () => Promise.reject(new BusyError(code, 'words')) }),
          { report: () => {} },
        )
        expect([path, code, await faults(path, 'post', await send(path, 'post', body))]).toEqual([
          path,
          code,
          [],
        ])
      }
      app = createApp(engineOfAll(), { token: 'secret' })
      expect(await faults(path, 'post', await send(path, 'post', body))).toEqual([])
      app = createApp(new Promise<never>(() => {}))
      expect(await faults(path, 'post', await send(path, 'post', body))).toEqual([])
    }
    expect(await faults('/readyz', 'get', await send('/readyz', 'get'))).toEqual([])
  })

  test('of what is not there', async () => {
    app = appWith()
    for (const path of ['/v1/collections/{name}', '/v1/collections/{name}/pictures/{id}'])
      expect(await faults(path, 'get', await send(path, 'get'))).toEqual([])
    const response = await app.request('/v1/models/other')
    expect(await faults('/v1/models/{id}', 'get', response)).toEqual([])
  })
})

test('the events of streams are those that are described', async () => {
  for (const { path, operation } of operations) {
    const events = operation.responses['200']?.content?.['text/event-stream']?.['x-events']
    if (!events) continue
    const { examples = {} } = operation.requestBody!.content['application/json']!
    for (const fails of [false, true]) {
      engine.fail(fails ? new BusyError('restarting', 'words') : undefined)
      const body = { ...(Object.values(examples)[0]!.value as object), stream: true }
      const response = await send(path, 'post', body)
      expect(response.headers.get('content-type')).toBe('text/event-stream')
      const sent = (await response.text()).split('\n\n').filter((event) => /^(event|data):/m.test(event))
      expect(sent.length).toBeGreaterThan(0)
      for (const event of sent) {
        const data = /^data: (.*)$/m.exec(event)![1]!
        if (data === '[DONE]') continue
        const name = /^event: (.*)$/m.exec(event)?.[1] ?? ('error' in JSON.parse(data) ? 'error' : 'message')
        expect([path, name, schemaFaults(events[name]!, JSON.parse(data), 'closed')]).toEqual([
          path,
          name,
          [],
        ])
      }
    }
  }
})

test('a form has the fields that are described for it, and the bare picture those of the query string', async () => {
  const { content } = document.paths['/v1/caption']!['post']!.requestBody!
  const form = content['multipart/form-data']!.schema as { properties: Record<string, object> }
  expect(Object.keys(form.properties)).toEqual(expect.arrayContaining(['image', 'prompt', 'num_beams']))
  const names = document.paths['/v1/caption']!['post']!.parameters.filter((one) => one.in === 'query').map(
    ({ name }) => name,
  )
  expect(names).toEqual(expect.arrayContaining(['prompt', 'stream', 'num_beams']))
  const values: Record<string, string> = { stream: 'false', num_beams: '2', prompt: 'a' }
  const query = new URLSearchParams(Object.entries(values).filter(([name]) => names.includes(name)))
  const response = await app.request(`/v1/caption?${query}`, {
    method: 'POST',
    body: Buffer.from(TINY, 'base64'),
    headers: { 'content-type': 'image/png' },
  })
  expect(response.status).toBe(200)
  expect(engine.asks.at(-1)).toMatchObject({ prompt: 'a', settings: { num_beams: 2 } })
})

test('is served, also where a token is set, without a secret', async () => {
  app = appWith({ token: 'secret-token' })
  const response = await app.request('/openapi.json')
  expect(await response.json()).toEqual(document)
  for (const path of ['/docs', '/docs.js', '/docs.css']) {
    const file = await app.request(path)
    expect(file.status).toBe(200)
    expect(await file.text()).not.toMatch(
      /https?:\/\/(?!www\.w3\.org)|<script(?! type="module" src=)|style=| on\w+=/,
    )
  }
})

// HTTP: Request -> Response. The same app serves Node, Lambda and tests.
//
//   POST /v1/<task>     /v1/caption, /v1/answer: one for each row of engine/tasks.ts; fields: request.ts
//   POST /invocations   all tasks, for SageMaker: the field `task`, else an answer when there is a question, else a caption
//   /v1/collections/...            pictures that are found by texts and by other pictures (collections.ts)
//   POST /v1/chat/completions, GET /v1/models   the same for clients of OpenAI's API (openai/)
//   POST /v1/embeddings, /v1/rerank, /v1/classify   for clients of other APIs (vectors/)
//   POST /v1/uploads               a URL for a picture too large for a request (uploads.ts)
//   GET  /v1/model                 name, precision, what it can see
//   GET  /metrics                  Prometheus' text format
//   GET  /healthz, /readyz, /ping, /v2/health/live, /v2/health/ready   health.ts
//   GET  /                         the page
//   GET  /openapi.json, /docs      this API described (openapi/)
//   POST /slack/events, /discord/interactions   webhooks of chat platforms
//
// Access, in this order: health checks are public. Webhooks check a signature. With a token set, /v1, /invocations and
// /metrics need it, and the page's files are public. Without a token, host-check.ts decides.

import { type Context, Hono } from 'hono'
import type { Engine } from '../engine/engine.ts'
import { TASK_NAMES, type TaskName } from '../engine/tasks.ts'
import { BusyError, codeOf, httpMeaningOf, isGlimpseError, RequestError } from '../errors.ts'
import { count } from '../observe/metrics.ts'
import { reportAs } from '../observe/report.ts'
import { type CollectionsOptions, collections } from './collections.ts'
import { HEALTH_PATHS, health, metrics, readinessOf } from './health.ts'
import { crossOrigin, hostAndOriginCheck, securityHeaders } from './host-check.ts'
import { createInferenceHandler, type InferenceOptions } from './inference-handler.ts'
import { readChat } from './openai/chat.ts'
import { envelopeOf, isOpenAiPath } from './openai/envelope.ts'
import { models } from './openai/models.ts'
import { openApi } from './openapi/handler.ts'
import { page } from './page.ts'
import { problemOf, problemResponse } from './problem.ts'
import { readRequest } from './request.ts'
import { requestLogger } from './request-log.ts'
import { tenantOf } from './tenant.ts'
import { tokenCheck } from './token.ts'
import { handleCreateUpload } from './uploads.ts'
import { readClassify } from './vectors/classify.ts'
import { readEmbeddings } from './vectors/embeddings.ts'
import { readRerank } from './vectors/rerank.ts'

export interface AppOptions extends InferenceOptions, CollectionsOptions {
  /** Requests that may wait besides those at the engine; further ones get 429. Default 8. */
  maxQueue?: number
  /** Requests at the engine at the same time: as many as it answers in one batch. Default 1. */
  concurrency?: number
  /** Accepted values of Host besides localhost and IP addresses; `*` accepts any. */
  hosts?: readonly string[]
  /** Origins of web pages that may send requests to /v1, as `https://app.example`; `*` allows any. */
  origins?: readonly string[]
  /** Bearer token that clients must send. Absent or empty: none. */
  token?: string
  /** For a public address, as on Lambda: without a token, all that a token protects is refused. */
  requireToken?: boolean
  /** Once aborted, new requests and /readyz get 503. */
  stopping?: AbortSignal
  /** The client's IP address, from the second argument of `fetch`. */
  addressOf?: (env: unknown) => string | undefined
  /** Webhooks of chat platforms, by path. Each checks a signature; Host is not checked. */
  handlers?: Readonly<Record<string, (request: Request) => Promise<Response>>>
  /** Why chat events no longer arrive; undefined while they do. /readyz then gets 503. */
  chatFault?: () => string | undefined
  /** Called with every failure that the client did not cause. Default: the log. */
  report?: (error: unknown) => void
}

const DEFAULT_MAX_QUEUE = 8
/** For clients of other APIs; see vectors/. */
const VECTOR_ROUTES = { embeddings: readEmbeddings, rerank: readRerank, classify: readClassify }
const PROTECTED = ['/v1/*', '/invocations', '/metrics']

/**
 * The HTTP app with a model.
 * @param engine may still be opening: until then requests are refused with `loading`, and /readyz is 503.
 * @example const response = await createApp(engine).fetch(new Request('http://localhost/healthz'))
 */
export function createApp(engine: Engine | Promise<Engine>, options: AppOptions = {}): Hono {
  const { stopping, token = '', report = reportAs('request_failed') } = options
  const getEngine = engineGetter(engine)
  const failed = (error: unknown) => {
    const { status } = httpMeaningOf(error)
    if (status >= 500) report(error)
    // A client that disconnected was not refused.
    if (status !== 500 && status !== 502 && status !== 499)
      count('glimpse_rejected_total', { reason: codeOf(error) })
  }
  const open = () => {
    if (stopping?.aborted) throw new BusyError('stopping', 'Glimpse is stopping. Try again in a moment.')
    return getEngine()
  }
  const { maxQueue = DEFAULT_MAX_QUEUE, concurrency = 1 } = options
  const inference = createInferenceHandler({
    ...options,
    getEngine: open,
    maxQueue,
    concurrency,
    reportLate: failed,
  })
  const refuse = (error: unknown, path: string, headers?: HeadersInit) => {
    failed(error)
    const body = isOpenAiPath(path) ? envelopeOf(error) : problemOf(error)
    return problemResponse(error, body, inference.retryAfterS(error), headers)
  }
  const tenant = ({ req, env }: Context) =>
    tenantOf({ address: options.addressOf?.(env), headers: req.raw.headers, isTrusted: token !== '' })

  const reader = (route: TaskName | 'any') => (request: Request) =>
    readRequest(request, route, options.uploads)

  const app = new Hono()
  app.use(securityHeaders())
  app.use(requestLogger(HEALTH_PATHS, stopping))
  app.onError((error, c) => refuse(error, c.req.path))
  app.route(
    '/',
    health(() => readinessOf(open, inference.waiting, options.chatFault)),
  )
  for (const [path, handle] of Object.entries(options.handlers ?? {}))
    app.post(path, (c) => handle(c.req.raw))
  const { origins = [] } = options
  // Before the token: a browser asks for permission (OPTIONS) without one.
  if (origins.length > 0) app.use('/v1/*', crossOrigin(origins))
  for (const path of PROTECTED) app.use(path, tokenCheck(token, options.requireToken))
  // Pages of other sites do not know the token, so with one any Host and Origin is safe.
  if (token === '') app.use(hostAndOriginCheck(options.hosts ?? [], origins))

  for (const task of TASK_NAMES) {
    app.post(`/v1/${task}`, (c) => inference.handle(c.req.raw, reader(task), tenant(c), task))
  }
  app.post('/invocations', (c) => inference.handle(c.req.raw, reader('any'), tenant(c)))
  app.route(
    '/v1/collections',
    collections({
      ...options,
      concurrency,
      infer: (c, read, label) => inference.handle(c.req.raw, read, tenant(c), label),
    }),
  )
  app.post('/v1/chat/completions', (c) =>
    inference.handle(c.req.raw, (request) => readChat(request, open().model), tenant(c)),
  )
  for (const [route, read] of Object.entries(VECTOR_ROUTES))
    app.post(`/v1/${route}`, (c) => inference.handle(c.req.raw, read, tenant(c), route))
  app.route('/v1/models', models(open))
  app.post('/v1/uploads', (c) => handleCreateUpload(c.req.raw, options.uploads))
  app.get('/v1/model', (c) => c.json(getEngine().model))
  app.get('/metrics', metrics)
  app.route('/', page())
  app.get('/openapi.json', openApi(Object.keys(options.handlers ?? {})))
  app.notFound((c) => {
    const allow = methodsAt(app, c.req.path).join(', ')
    if (allow === '') {
      const message = `This address does not exist. Use ${TASK_NAMES.map((task) => `POST /v1/${task}`).join(', ')}, POST /v1/chat/completions, POST /v1/uploads, GET /v1/model or GET /.`
      return refuse(new RequestError('not_found', message), c.req.path)
    }
    const message = `Expected the method ${allow} at ${c.req.path} but got another.`
    return refuse(new RequestError('wrong_method', message), c.req.path, { allow })
  })
  return app
}

/** The methods that a path takes. A path with parameters is matched as requests are. */
function methodsAt({ router }: Hono, path: string): string[] {
  return ['GET', 'POST', 'PUT', 'DELETE'].filter((method) =>
    router.match(method, path)[0].some(([[, route]]) => route.method !== 'ALL'),
  )
}

/** Returns the engine, or throws why there is none: it is still opening, or it failed to open. */
function engineGetter(engine: Engine | Promise<Engine>): () => Engine {
  if (!('then' in engine)) return () => engine
  let opened: Engine | undefined
  let reason: Error = new BusyError('loading', 'The model is still loading. Try again in a few seconds.')
  void engine
    .then((value) => (opened = value))
    .catch((cause: unknown) => {
      reason = isGlimpseError(cause) ? cause : new Error('The engine did not open.', { cause })
    })
  return () => {
    if (opened) return opened
    throw reason
  }
}

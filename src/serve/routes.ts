// HTTP: a Request comes in, a Response goes out. The same app serves Node, Lambda and tests.
//
//   POST /v1/caption, /v1/answer   request.ts says what they take; engine/request.ts what they give (Reply)
//   POST /invocations              the same, for SageMaker: an answer when there is a question, else a caption
//   POST /v1/uploads               an address for a picture too large for a request (uploads.ts)
//   GET  /v1/model                 name, precision, what it can see
//   GET  /metrics                  Prometheus' text format
//   GET  /healthz, /readyz, /ping, /v2/health/live, /v2/health/ready   see health.ts
//   GET  /                         the page
//   POST /slack/events, /discord/interactions   where these platforms are set up to call here
//
// Whoever is to be let in is decided in this order: health checks always; chat platforms by their signature; with a token
// set, /v1, /invocations and /metrics by the token and the page's files always; without one, see host-check.ts.

import { type Context, Hono, type MiddlewareHandler } from 'hono'
import type { Engine } from '../engine/engine.ts'
import { BusyError, isGlimpseError, RequestError } from '../errors.ts'
import { metricsText } from '../observe/metrics.ts'
import { reportAs } from '../observe/report.ts'
import type { Store } from '../store/store.ts'
import { HEALTH_PATHS, health } from './health.ts'
import { hostAndOriginCheck, securityHeaders } from './host-check.ts'
import { createInferenceHandler } from './inference-handler.ts'
import { page } from './page.ts'
import { problemResponse, statusOf } from './problem.ts'
import { countRejection, requestLogger } from './request-log.ts'
import { tenantOf } from './tenant.ts'
import { bearerAuth } from './token.ts'
import { handleCreateUpload, type Uploads } from './uploads.ts'

export interface AppOptions {
  /** Asks that may wait besides those the engine has; one more is told to come back. Default 8. */
  maxQueue?: number
  /** Asks the engine gets at the same time: as many as it answers in one go. Default 1. */
  concurrency?: number
  /** Names this server is reached by besides localhost and addresses in digits; `*` takes any. */
  hosts?: readonly string[]
  /** What whoever asks has to send (Authorization: Bearer). Absent or empty: nothing. */
  token?: string
  /** Where anybody can reach this, as on Lambda: without a token everything below /v1 is refused. */
  requireToken?: boolean
  /** Past it a run ends with BusyError `deadline`. Default: the engine's own. */
  deadlineMs?: number
  /** Once aborted, nothing new is taken and /readyz says so. */
  stopping?: AbortSignal
  /** Once aborted, what still runs ends with BusyError `stopping`. */
  hardStop?: AbortSignal
  /** Opens where answers are kept for their Idempotency-Key, for several processes. Default: in this one. */
  store?: () => Promise<Store>
  /** Where a request came from, out of what the server hands to `fetch` beside it. */
  addressOf?: (env: unknown) => string | undefined
  /** Where pictures too large for a request go; without it they are refused. */
  uploads?: Uploads
  /** What chat platforms call, by path; each checks a signature, whatever the host is called. */
  handlers?: Readonly<Record<string, (request: Request) => Promise<Response>>>
  /** Is told of every failure that is not the asker's. Default: the log. */
  report?: (error: unknown) => void
}

const DEFAULT_MAX_QUEUE = 8
/** What a token opens, where there is one. */
const PROTECTED = ['/v1/*', '/invocations', '/metrics']

/**
 * The whole HTTP face.
 * @param engine may still be opening: until then asks are refused with `loading` and /readyz is 503.
 * @example const response = await createApp(engine).fetch(new Request('http://localhost/healthz'))
 */
export function createApp(engine: Engine | Promise<Engine>, options: AppOptions = {}): Hono {
  const { stopping, report = reportAs('request_failed') } = options
  const getEngine = engineGetter(engine)
  const token = bearerAuth(options.token, options.requireToken)
  const failed = (error: unknown) => {
    if ([500, 502].includes(statusOf(error))) report(error)
    else countRejection(error)
  }
  const open = () => {
    if (stopping?.aborted) throw new BusyError('stopping', 'Glimpse is stopping. Try again in a moment.')
    return getEngine()
  }
  const inference = createInferenceHandler({
    open,
    maxQueue: options.maxQueue ?? DEFAULT_MAX_QUEUE,
    concurrency: options.concurrency ?? 1,
    deadlineMs: options.deadlineMs,
    hardStop: options.hardStop,
    uploads: options.uploads,
    store: options.store,
    failed,
  })
  const refuse = (error: unknown, headers?: HeadersInit) => {
    failed(error)
    return problemResponse(error, inference.retryAfterS(error), headers)
  }
  const checkToken: MiddlewareHandler = async (c, next) => {
    token.check(c.req.raw.headers)
    await next()
  }
  const tenant = ({ req, env }: Context) =>
    tenantOf({ address: options.addressOf?.(env), headers: req.raw.headers, isTrusted: token.isSet })

  const app = new Hono()
  app.use(securityHeaders())
  app.use(requestLogger(HEALTH_PATHS, stopping))
  app.onError((error) => refuse(error))
  app.route('/', health({ open, waiting: inference.waiting }))
  for (const [path, handle] of Object.entries(options.handlers ?? {}))
    app.post(path, (c) => handle(c.req.raw))
  for (const path of PROTECTED) app.use(path, checkToken)
  // A foreign page cannot know the token, so with one it does not matter by which name this server is called.
  if (!token.isSet) app.use(hostAndOriginCheck(options.hosts ?? []))

  app.post('/v1/caption', (c) => inference.handle(c.req.raw, 'caption', tenant(c)))
  app.post('/v1/answer', (c) => inference.handle(c.req.raw, 'answer', tenant(c)))
  app.post('/invocations', (c) => inference.handle(c.req.raw, 'either', tenant(c)))
  app.post('/v1/uploads', (c) => handleCreateUpload(c.req.raw, options.uploads))
  app.get('/v1/model', (c) => c.json(getEngine().model))
  app.get('/metrics', async (c) => {
    const { text, contentType } = await metricsText()
    return c.body(text, 200, { 'content-type': contentType })
  })
  app.route('/', page())
  app.notFound((c) => {
    const known = app.routes.filter((route) => route.path === c.req.path && route.method !== 'ALL')
    if (known.length === 0) {
      const message =
        'Nothing is at this address. There are POST /v1/caption, POST /v1/answer, POST /v1/uploads, GET /v1/model and GET /.'
      return refuse(new RequestError('not_found', message))
    }
    const allow = known.map((route) => route.method).join(', ')
    const message = `Expected the method ${allow} at ${c.req.path} but got another.`
    return refuse(new RequestError('wrong_method', message), { allow })
  })
  return app
}

/** The engine once it is there; until then, or when it never came, the error that says so. */
function engineGetter(engine: Engine | Promise<Engine>): () => Engine {
  let open: Engine | undefined
  let closed: unknown = new BusyError('loading', 'The model is still loading. Try again in a few seconds.')
  if ('then' in engine) {
    engine.then(
      (opened) => {
        open = opened
      },
      (error: unknown) => {
        closed = error
      },
    )
  } else open = engine
  return () => {
    if (open) return open
    throw isGlimpseError(closed) ? closed : new Error('The engine did not open.', { cause: closed })
  }
}

// HTTP: a Request comes in, a Response goes out. The same app serves Node, Lambda and tests.
//
//   POST /v1/caption, /v1/answer   request.ts says what they take; job/ask.ts what they give (Reply)
//   POST /v1/uploads               an address for a picture too large for a request (uploads.ts)
//   GET  /v1/model                 name, precision, what it can see
//   GET  /healthz, /readyz         the process lives; the model can answer
//   GET  /                         the page
//   POST /slack/events, /discord/interactions   where these platforms are set up to call here
//
// An ask takes its place before its body is read, so that a crowd costs neither memory nor time.

import { Hono } from 'hono'
import { AskError, BusyError, consequenceOf, isKnown } from '../errors.ts'
import type { Engine } from '../job/engine.ts'
import { eventStream } from './events.ts'
import { guard, securityHeaders } from './guard.ts'
import { page } from './page.ts'
import { problemOf, problemResponse } from './problem.ts'
import { readAsk } from './request.ts'
import { offerUpload, type Uploads } from './uploads.ts'

export interface AppOptions {
  /** Asks that may wait besides the one that runs; one more is told to come back. Default 8. */
  maxQueue?: number
  /** Names this server is reached by besides localhost and addresses in digits; `*` takes any. */
  hosts?: readonly string[]
  /** Past it a run ends with BusyError `deadline`. Default: the engine's own. */
  deadlineMs?: number
  /** Once aborted, nothing new is taken and /readyz says so. */
  stopping?: AbortSignal
  /** Where pictures too large for a request go; without it they are refused. */
  uploads?: Uploads
  /** What chat platforms call, by path; each checks a signature, whatever the host is called. */
  handlers?: Readonly<Record<string, (request: Request) => Promise<Response>>>
  /** Is told of every failure that is not the asker's. Default: standard error. */
  report?: (error: unknown) => void
}

const DEFAULT_MAX_QUEUE = 8
/** Before the first reply nothing is known about how long one takes. */
const FIRST_GUESS_MS = 2_000
/** Weight of the newest reply in the mean that Retry-After is made from. */
const NEWEST = 0.3
const MAX_RETRY_AFTER_S = 60

/**
 * The whole HTTP face.
 * @param engine may still be opening: until then asks are refused with `loading` and /readyz is 503.
 * @example const response = await createApp(engine).fetch(new Request('http://localhost/healthz'))
 */
export function createApp(engine: Engine | Promise<Engine>, options: AppOptions = {}): Hono {
  const maxQueue = options.maxQueue ?? DEFAULT_MAX_QUEUE
  const report = options.report ?? ((error: unknown) => console.error(error))
  const door = openDoor(engine)
  let reading = 0
  let meanMs = FIRST_GUESS_MS

  const retryAfterS = () => Math.min(MAX_RETRY_AFTER_S, Math.max(1, Math.ceil(meanMs / 1000)))
  const failed = (error: unknown) => {
    if (consequenceOf(error).status === 500) report(error)
  }

  function enter(): Engine {
    if (options.stopping?.aborted)
      throw new BusyError('stopping', 'Glimpse is stopping. Try again in a moment.')
    const open = door()
    const ahead = open.load + reading
    if (ahead <= maxQueue) return open
    throw new BusyError(
      'busy',
      `Glimpse is busy: ${ahead} others are ahead and this would be number ${ahead + 1}. ` +
        `Try again in ${retryAfterS()} s.`,
    )
  }

  async function take(request: Request, want: 'caption' | 'answer'): Promise<Response> {
    const open = enter()
    reading++
    const { ask, stream, used } = await readAsk(request, want, options.uploads).finally(() => reading--)
    const run = async (hooks: Parameters<Engine['answer']>[1]) => {
      const reply = await open.answer({ ...ask, deadlineMs: options.deadlineMs }, hooks)
      meanMs += NEWEST * (reply.timings_ms.total - reply.timings_ms.queue - meanMs)
      await used?.()
      return reply
    }
    if (stream) return eventStream(run, request.signal, failed)
    return Response.json(await run({ signal: request.signal }), { headers: { 'cache-control': 'no-store' } })
  }

  const app = new Hono()
  app.use(securityHeaders())
  app.onError((error) => {
    failed(error)
    return problemResponse(error, retryAfterS())
  })
  for (const [path, handle] of Object.entries(options.handlers ?? {}))
    app.post(path, (c) => handle(c.req.raw))
  app.use(guard(options.hosts ?? []))

  app.post('/v1/caption', (c) => take(c.req.raw, 'caption'))
  app.post('/v1/answer', (c) => take(c.req.raw, 'answer'))
  app.post('/v1/uploads', (c) => offerUpload(c.req.raw, options.uploads))
  app.get('/v1/model', (c) => c.json(door().model))
  app.get('/healthz', (c) => c.json({ alive: true }))
  app.get('/readyz', (c) => {
    if (options.stopping?.aborted) return c.json({ ready: false, reason: 'Glimpse is stopping.' }, 503)
    try {
      const { model, load, ready } = door()
      if (!ready) return c.json({ ready, reason: 'The model stopped and is being started again.' }, 503)
      return c.json({ ready, model: model.name, load })
    } catch (error) {
      return c.json({ ready: false, reason: problemOf(error).error.message }, 503)
    }
  })
  app.route('/', page())
  app.notFound((c) => {
    const known = app.routes.filter((route) => route.path === c.req.path && route.method !== 'ALL')
    if (known.length === 0) {
      const message =
        'Nothing is at this address. There are POST /v1/caption, POST /v1/answer, POST /v1/uploads, GET /v1/model and GET /.'
      return problemResponse(new AskError('not_found', message), 0)
    }
    const allow = known.map((route) => route.method).join(', ')
    const message = `Expected the method ${allow} at ${c.req.path} but got another.`
    return problemResponse(new AskError('wrong_method', message), 0, { allow })
  })
  return app
}

/** The engine once it is there; until then, or when it never came, the error that says so. */
function openDoor(engine: Engine | Promise<Engine>): () => Engine {
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
    throw isKnown(closed) ? closed : new Error('The engine did not open.', { cause: closed })
  }
}

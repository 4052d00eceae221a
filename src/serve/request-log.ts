// What is told of every request: its id and trace to whoever works on it, one line to the log, and to the metrics why it
// was turned away. Never its query, its body or what came of it.

import { randomUUID } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'
import { isGlimpseError } from '../errors.ts'
import { withIds } from '../observe/context.ts'
import { log } from '../observe/log.ts'
import { count } from '../observe/metrics.ts'
import { withSpan } from '../observe/trace.ts'
import { statusOf } from './problem.ts'

/** Of what platforms and their proxies send; another is replaced by one of ours. */
const ID = /^[\w.:@/+=-]{1,128}$/
/** SageMaker passes an asynchronous call's id, and what a caller put beside its body. */
const ID_HEADERS = ['x-request-id', 'x-amzn-sagemaker-inference-id', 'x-amzn-sagemaker-custom-attributes']

/**
 * Gives each request its ids and a line in the log, unless its path is one of `quiet` and all is well: platforms ask
 * those every few seconds. Once `stopping` is aborted, connections are not kept.
 */
export function requestLogger(quiet: ReadonlySet<string>, stopping?: AbortSignal): MiddlewareHandler {
  return (c, next) => {
    const startedAt = performance.now()
    const { method } = c.req
    // A pattern or nothing: an address may hold what somebody else's query would.
    const route = matchedRoutes(c).find(({ method }) => method !== 'ALL')?.path ?? 'unknown'
    const request_id = requestIdOf(c.req.raw.headers)
    const carrier = Object.fromEntries(
      ['traceparent', 'tracestate'].map((name) => [name, c.req.header(name)]),
    )
    return withIds({ request_id }, () =>
      withSpan(`${method} ${route}`, carrier, async (span) => {
        await next()
        c.res.headers.set('x-request-id', request_id)
        if (stopping?.aborted) c.res.headers.set('connection', 'close')
        const { status } = c.res
        span.setAttributes({
          'http.request.method': method,
          'http.route': route,
          'http.response.status_code': status,
        })
        if (quiet.has(route) && status < 400) return
        log.info('request', { method, route, status, ms: Math.round(performance.now() - startedAt) })
      }),
    )
  }
}

function requestIdOf(headers: Headers): string {
  const sent = ID_HEADERS.map((name) => headers.get(name)).find((id) => id !== null && ID.test(id))
  return sent ?? randomUUID()
}

/** What `glimpse_requests_total` and `glimpse_rejected_total` call it. */
export function codeOf(error: unknown): string {
  return isGlimpseError(error) ? error.code : 'internal'
}

/** Who left was not turned away. */
export function countRejection(error: unknown): void {
  if (statusOf(error) !== 499) count('glimpse_rejected_total', { reason: codeOf(error) })
}

// For each request: an id, a trace span, and one line in the log. Query, body and reply are never logged.

import { randomUUID } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'
import { log, withIds } from '../observe/log.ts'
import { withSpan } from '../observe/trace.ts'

/** Accepted ids from clients, platforms and proxies (hono's request-id takes no `.` and `:`). Others are replaced. */
const ID = /^[\w.:@/+=-]{1,128}$/
/** SageMaker passes on the id of an asynchronous call, and the caller's custom attributes. */
const ID_HEADERS = ['x-request-id', 'x-amzn-sagemaker-inference-id', 'x-amzn-sagemaker-custom-attributes']

/**
 * Sets X-Request-Id and logs the request. Successful requests to the paths `quiet` are not logged, because platforms send
 * them every few seconds. Once `stopping` is aborted, responses close their connection.
 */
export function requestLogger(quiet: ReadonlySet<string>, stopping?: AbortSignal): MiddlewareHandler {
  return (c, next) => {
    const startedAt = performance.now()
    const { method } = c.req
    // The pattern, never the path of an unknown address, which may hold personal data.
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

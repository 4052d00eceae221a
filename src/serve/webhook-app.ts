// HTTP of a process without a model: chat webhooks, health checks and metrics.

import { Hono } from 'hono'
import { HEALTH_PATHS, health, metrics } from './health.ts'
import { securityHeaders } from './host-check.ts'
import { problemOf, problemResponse } from './problem.ts'
import { requestLogger } from './request-log.ts'
import type { AppOptions } from './routes.ts'
import { tokenCheck } from './token.ts'

export interface WebhookAppOptions {
  /** By path. Each checks a signature. */
  handlers: NonNullable<AppOptions['handlers']>
  /** Bearer token for /metrics. */
  token?: string
  /** Whether chat events are received. */
  isReady(): boolean
  /** Why they no longer arrive. */
  chatFault?: () => string | undefined
}

export function createWebhookApp({ handlers, token, isReady, chatFault }: WebhookAppOptions): Hono {
  const app = new Hono()
  app.use(securityHeaders())
  app.use(requestLogger(HEALTH_PATHS))
  app.onError((error) => problemResponse(error, problemOf(error), 1))
  app.route(
    '/',
    health(() => {
      const reason = chatFault?.()
      return { ready: isReady() && reason === undefined, reason }
    }),
  )
  for (const [path, handle] of Object.entries(handlers)) app.post(path, (c) => handle(c.req.raw))
  app.get('/metrics', tokenCheck(token), metrics)
  return app
}

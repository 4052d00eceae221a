// HTTP where chats are heard and no model is: what platforms call, health checks and metrics.

import { Hono } from 'hono'
import { metricsText } from '../observe/metrics.ts'
import { HEALTH_PATHS, LIVE, READY } from './health.ts'
import { securityHeaders } from './host-check.ts'
import { problemResponse } from './problem.ts'
import { requestLogger } from './request-log.ts'
import { bearerAuth } from './token.ts'

export interface WebhookAppOptions {
  /** By path; each checks a signature. */
  handlers: Readonly<Record<string, (request: Request) => Promise<Response>>>
  /** What whoever reads the metrics has to send. */
  token?: string
  isReady(): boolean
}

export function createWebhookApp({ handlers, token, isReady }: WebhookAppOptions): Hono {
  const { check } = bearerAuth(token)
  const app = new Hono()
  app.use(securityHeaders())
  app.use(requestLogger(HEALTH_PATHS))
  app.onError((error) => problemResponse(error, 1))
  for (const path of LIVE) app.get(path, (c) => c.json({ alive: true }))
  for (const path of READY) app.get(path, (c) => c.json({ ready: isReady() }, isReady() ? 200 : 503))
  for (const [path, handle] of Object.entries(handlers)) app.post(path, (c) => handle(c.req.raw))
  app.get('/metrics', async (c) => {
    check(c.req.raw.headers)
    const { text, contentType } = await metricsText()
    return c.body(text, 200, { 'content-type': contentType })
  })
  return app
}

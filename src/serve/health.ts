// Health checks and metrics, under the paths that platforms use:
//
//   docker, Kubernetes, Cloud Run, Lambda web adapter   /healthz, /readyz
//   SageMaker                                           /ping: the same as /readyz, within 2 s
//   KServe, Triton                                      /v2/health/live, /v2/health/ready
//   Prometheus                                          /metrics
//
// Health checks reveal no secret and change nothing, so they need no token and accept any Host.

import { type Context, Hono } from 'hono'
import type { Engine, UnreadyReason } from '../engine/engine.ts'
import { metricsText } from '../observe/metrics.ts'
import { problemOf } from './problem.ts'

const LIVE = ['/healthz', '/v2/health/live']
const READY = ['/readyz', '/ping', '/v2/health/ready']
export const HEALTH_PATHS: ReadonlySet<string> = new Set([...LIVE, ...READY])

interface Readiness {
  ready: boolean
  reason?: string
  model?: string
  /** The execution provider in use, and why it is not the configured one. Absent for a remote engine. */
  provider?: string
  fallback?: string
  /** Requests that wait or run. */
  load?: number
}

/** Routes of the health checks. The ready ones respond with the readiness, and status 503 when it is false. */
export function health(readiness: () => Readiness): Hono {
  const app = new Hono()
  app.on('GET', LIVE, (c) => c.json({ alive: true }))
  app.on('GET', READY, (c) => {
    const state = readiness()
    return c.json(state, state.ready ? 200 : 503)
  })
  return app
}

const REASONS: Record<UnreadyReason, string> = {
  restarting: 'The model process stopped and is being restarted.',
  model_down: 'The model process stopped too often. It is restarted after a pause.',
  closing: 'This process is stopping.',
}

/**
 * @param open the engine, or throws why there is none
 * @param chatFault why chat events no longer arrive; undefined while they do
 */
export function readinessOf(
  open: () => Engine,
  waiting: () => number,
  chatFault?: () => string | undefined,
): Readiness {
  try {
    const { model, pending, ready, unreadyReason = 'restarting' } = open()
    if (!ready) return { ready, reason: REASONS[unreadyReason] }
    const reason = chatFault?.()
    if (reason !== undefined) return { ready: false, reason }
    const { name, provider, fallback } = model
    return { ready, model: name, provider, fallback, load: pending + waiting() }
  } catch (error) {
    return { ready: false, reason: problemOf(error).error.message }
  }
}

/** Handler of GET /metrics. */
export async function metrics(c: Context): Promise<Response> {
  const { text, contentType } = await metricsText()
  return c.body(text, 200, { 'content-type': contentType })
}

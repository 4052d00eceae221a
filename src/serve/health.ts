// Whether the process lives and the model can answer, under the names that platforms ask for:
//
//   docker, Kubernetes, Cloud Run, Lambda web adapter   /healthz, /readyz
//   SageMaker                                           /ping: as /readyz, within 2 s
//   KServe, Triton                                      /v2/health/live, /v2/health/ready
//
// They tell nothing that is a secret and change nothing, so they need no token and any host may be named.

import { Hono } from 'hono'
import type { Engine } from '../engine/engine.ts'
import { problemOf } from './problem.ts'

export const LIVE = ['/healthz', '/v2/health/live']
export const READY = ['/readyz', '/ping', '/v2/health/ready']
export const HEALTH_PATHS: ReadonlySet<string> = new Set([...LIVE, ...READY])

export interface Health {
  /** The engine. @throws BusyError `loading` or `stopping`, or why there never will be one */
  open(): Engine
  /** Asks that have not reached the engine yet. */
  waiting(): number
}

export function health({ open, waiting }: Health): Hono {
  const app = new Hono()
  for (const path of LIVE) app.get(path, (c) => c.json({ alive: true }))
  for (const path of READY) {
    app.get(path, (c) => {
      const state = stateOf(open, waiting)
      return c.json(state, state.ready ? 200 : 503)
    })
  }
  return app
}

function stateOf(open: Health['open'], waiting: Health['waiting']) {
  try {
    const { model, pending, ready } = open()
    if (!ready) return { ready, reason: 'The model stopped and is being started again.' }
    return { ready, model: model.name, load: pending + waiting() }
  } catch (error) {
    return { ready: false, reason: problemOf(error).error.message }
  }
}

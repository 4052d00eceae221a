// The function `http`: the app of `glimpse serve`, behind the API token. Without a stored token every request is refused,
// because the owner pays for each request.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Hono } from 'hono'
import { serverOptions } from '../app/server.ts'
import { createApp } from '../serve/routes.ts'
import { loadFunctionConfig, openFunctionEngine, report } from './lifecycle.ts'

/** In ms. Lambda limits the init phase to 10 s. With a slower model the first requests get 503 and Retry-After. */
const START_MS = 8_000

/** @throws SetupError */
export async function openHttp(): Promise<Hono> {
  const config = await loadFunctionConfig(['GLIMPSE_API_TOKEN'])
  const engine = openFunctionEngine(config, false)
  const timeout = sleep(START_MS, undefined, { ref: false })
  const [options] = await Promise.all([
    serverOptions(config),
    Promise.race([engine.catch(() => {}), timeout]),
  ])
  return createApp(engine, { ...options, requireToken: true, report })
}

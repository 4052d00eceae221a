// The function `http`: the app that `glimpse serve` is, for those who have the token. Without one stored nobody is
// answered: an open door would be paid by whoever deployed it.

import type { Hono } from 'hono'
import { createApp } from '../serve/routes.ts'
import { serverSettings } from '../serve/settings.ts'
import { openEngine } from './engine.ts'
import { loadConfig, report } from './lifecycle.ts'

/** Lambda gives a start 10 s; what takes longer is opened while the first asks are told to come back. */
const STARTS_WITHIN_MS = 8_000

/** @throws SetupError */
export async function openHttp(): Promise<Hono> {
  const config = await loadConfig(['GLIMPSE_API_TOKEN'])
  const engine = openEngine(config, false)
  // Whoever asks is told why it did not open.
  engine.catch(report)
  const [settings] = await Promise.all([serverSettings(config), atMost(engine)])
  return createApp(engine, { ...settings, requireToken: true, report })
}

function atMost(work: Promise<unknown>): Promise<unknown> {
  return Promise.race([
    work.catch(() => {}),
    new Promise((resolve) => setTimeout(resolve, STARTS_WITHIN_MS).unref()),
  ])
}

// A function that receives one platform's events: checks the signature, puts questions into the queue, and responds within
// the platform's 3 s.

import { Hono } from 'hono'
import { openSink, openState } from '../app/chat.ts'
import type { AnyAdapter } from '../platforms.ts'
import { HOUR_MS } from '../time.ts'
import { loadFunctionConfig, report } from './lifecycle.ts'

/** @throws SetupError */
export async function openWebhook(adapter: AnyAdapter): Promise<Hono> {
  const config = await loadFunctionConfig(adapter.secrets.receive)
  // A question is queued while S3 fails, too.
  const state = await openState(config, false)
  const { sink } = await openSink(config, state)
  const deps = { ...state, sink, keepMs: config.keepHours * HOUR_MS, report }
  const handle = await adapter.openWebhook(config, deps)
  return new Hono().post(adapter.webhookPath, ({ req }) => handle(req.raw))
}

// The function `http`: the app that `glimpse serve` is, for those who have the token.

import { Hono } from 'hono'
import { SetupError } from '../errors.ts'
import { problemResponse } from '../serve/problem.ts'
import { createApp } from '../serve/routes.ts'
import { openEngine } from './engine.ts'
import { openConfig, report } from './start.ts'

/** Without a token stored nobody is answered: an open door would be paid by whoever deployed it. */
export async function openHttp(): Promise<Hono> {
  const config = await openConfig(['GLIMPSE_API_TOKEN'])
  if (config.apiToken === '') return closedDoor(config.secrets)
  const engine = openEngine(config, false)
  // Not awaited: whoever asks is told that it loads, and whether it failed.
  engine.catch(report)
  const { maxQueue, deadlineMs } = config
  await Promise.race([
    engine.catch(() => {}),
    new Promise((resolve) => setTimeout(resolve, STARTS_WITHIN_MS)),
  ])
  // API Gateway knows its own name; nothing here listens on a network that a page could reach.
  return createApp(engine, { maxQueue, deadlineMs, hosts: ['*'], report })
}

/** Lambda gives a start 10 s; what takes longer is opened while the first asks are told to come back. */
const STARTS_WITHIN_MS = 8_000

function closedDoor(path: string): Hono {
  const app = new Hono()
  app.get('/healthz', (c) => c.json({ alive: true }))
  app.all('*', () =>
    problemResponse(
      new SetupError(
        'no_api_token',
        `Expected a token for this API but none is stored. Its operator does: aws ssm put-parameter --type SecureString --name ${path}/GLIMPSE_API_TOKEN --value ...`,
      ),
      0,
    ),
  )
  return app
}

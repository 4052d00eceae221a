// HTTP where no model is: health, metrics, and what platforms call.

import { beforeAll, expect, test } from 'vitest'
import { configureLog } from '../../src/observe/log.ts'
import { startWebhookServer } from '../../src/serve/server.ts'
import { createWebhookApp } from '../../src/serve/webhook-app.ts'

beforeAll(() => configureLog('text', { write: () => {} }))

const ear = (isReady = true, token?: string) =>
  createWebhookApp({
    isReady: () => isReady,
    token,
    handlers: { '/slack/events': async (request) => new Response(`heard ${await request.text()}`) },
  })

test('is alive at once, and ready once it is connected', async () => {
  expect((await ear(false).request('/healthz')).status).toBe(200)
  for (const path of ['/readyz', '/ping']) {
    expect((await ear(false).request(path)).status).toBe(503)
    expect((await ear().request(path)).status).toBe(200)
  }
})

test('hands platforms on, and answers nothing about pictures', async () => {
  const heard = await ear().request('/slack/events', { method: 'POST', body: 'this' })
  expect(await heard.text()).toBe('heard this')
  expect((await ear().request('/v1/caption', { method: 'POST' })).status).toBe(404)
})

test('shows its metrics to whoever knows the token', async () => {
  const headers = { authorization: 'Bearer right-token' }
  expect(await (await ear(true, 'right-token').request('/metrics', { headers })).text()).toContain(
    'glimpse_queue_messages_total',
  )
  const refused = await ear(true, 'right-token').request('/metrics')
  expect(refused.status).toBe(401)
})

test('while it stops, what is alongside ends first', async () => {
  const order: string[] = []
  const server = await startWebhookServer({
    port: 0,
    handlers: {},
    isReady: () => true,
    stopAlso: async () => {
      order.push((await fetch(`${server.url}/readyz`)).status === 503 ? 'not ready' : 'ready')
    },
  })
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
  await server.close()
  expect(order).toEqual(['not ready'])
  await expect(fetch(`${server.url}/healthz`)).rejects.toThrow()
})

// HTTP of a process without a model: health, metrics and webhooks.

import { beforeAll, expect, test } from 'vitest'
import { configureLog } from '../../src/observe/log.ts'
import { startWebhookServer } from '../../src/serve/server.ts'
import { createWebhookApp } from '../../src/serve/webhook-app.ts'

beforeAll(() => configureLog('text', { write: () => {} }))

const app = (isReady = true, token?: string) =>
  createWebhookApp({
    isReady: () => isReady,
    token,
    handlers: { '/slack/events': async (request) => new Response(`received ${await request.text()}`) },
  })

test('is alive at once, and ready once it is connected', async () => {
  expect((await app(false).request('/healthz')).status).toBe(200)
  for (const path of ['/readyz', '/ping']) {
    expect((await app(false).request(path)).status).toBe(503)
    expect((await app().request(path)).status).toBe(200)
  }
})

test('hands platforms on, and answers nothing about pictures', async () => {
  const response = await app().request('/slack/events', { method: 'POST', body: 'this' })
  expect(await response.text()).toBe('received this')
  expect((await app().request('/v1/caption', { method: 'POST' })).status).toBe(404)
})

test('shows its metrics to clients with the token', async () => {
  const headers = { authorization: 'Bearer right-token' }
  expect(await (await app(true, 'right-token').request('/metrics', { headers })).text()).toContain(
    'glimpse_queue_messages_total',
  )
  const refused = await app(true, 'right-token').request('/metrics')
  expect(refused.status).toBe(401)
})

test('while it stops, the chats end first', async () => {
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

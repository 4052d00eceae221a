// A refusal by the hub is an error with its status, whatever becomes of its body. A redirect from https to http is refused.

import { expect, onTestFinished, test, vi } from 'vitest'
import { request } from '../../src/hub/http.ts'

test.each([
  [404, 'not_on_hub'],
  [403, 'hub_refused'],
])('%i with a body that broke off is reported by its status', async (status, code) => {
  const broken = () => new ReadableStream({ start: (stream) => stream.error(new Error('ECONNRESET')) })
  vi.stubGlobal('fetch', async () => new Response(broken(), { status }))
  onTestFinished(() => void vi.unstubAllGlobals())
  await expect(request({ endpoint: 'http://hub' }, '/x', 'x')).rejects.toMatchObject({ code })
})

test.each([
  [
    'http://cache.example/x',
    { code: 'bad_answer', message: expect.stringContaining('http://cache.example') },
  ],
  ['https://cache.example/x', undefined],
])('of a hub with https, an answer from %s', async (url, refusal) => {
  const response = Object.defineProperties(new Response('bytes'), {
    url: { value: url },
    redirected: { value: true },
  })
  vi.stubGlobal('fetch', async () => response)
  onTestFinished(() => void vi.unstubAllGlobals())
  const answer = request({ endpoint: 'https://hub.example' }, '/x', 'x')
  if (refusal) await expect(answer).rejects.toMatchObject(refusal)
  else expect(await answer).toBe(response)
})

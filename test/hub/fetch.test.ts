// A refusal by the hub is an error with its status, whatever becomes of its body.

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

import { expect, onTestFinished, test, vi } from 'vitest'
import { request } from '../../src/hub/http.ts'

test.each([
  [404, 'not_on_hub'],
  [302, 'bad_redirect'],
])('%i with a body that broke off is said by its status', async (status, code) => {
  const headers = { location: 'ftp://elsewhere' }
  const broken = () => new ReadableStream({ start: (stream) => stream.error(new Error('ECONNRESET')) })
  vi.stubGlobal('fetch', async () => new Response(broken(), { status, headers }))
  onTestFinished(() => void vi.unstubAllGlobals())
  await expect(request({ endpoint: 'http://hub' }, '/x', 'x')).rejects.toMatchObject({ code })
})

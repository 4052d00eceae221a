// Progress without a terminal, as a server or a test has it, and interruption.

import { expect, onTestFinished, test, vi } from 'vitest'
import { withProgress } from '../../src/cli/progress.ts'
import { log } from '../../src/observe/log.ts'

function logged() {
  const info = vi.spyOn(log, 'info').mockImplementation(() => {})
  onTestFinished(() => info.mockRestore())
  return () => info.mock.calls.map(([event, fields]) => [event, fields?.percent])
}

test('each further tenth is one log line', async () => {
  const lines = logged()
  const result = await withProgress('model_fetching', async ({ onProgress }) => {
    for (const doneBytes of [0, 5, 10, 12, 45, 100]) onProgress({ doneBytes, totalBytes: 100 })
    return 'done'
  })
  expect(result).toBe('done')
  expect(lines()).toEqual([
    ['model_fetching', 10],
    ['model_fetching', 40],
    ['model_fetching', 100],
  ])
})

test('without an event there are no lines', async () => {
  const lines = logged()
  await withProgress(undefined, async ({ onProgress }) => onProgress({ doneBytes: 1, totalBytes: 1 }))
  expect(lines()).toEqual([])
})

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s aborts the work, and later signals are not caught',
  async (name) => {
    const before = process.listenerCount(name)
    const work = withProgress(undefined, async ({ signal }) => {
      process.emit(name)
      signal.throwIfAborted()
    })
    await expect(work).rejects.toMatchObject({ name: 'AbortError' })
    expect(process.listenerCount(name)).toBe(before)
  },
)

// Gateway events replayed without a connection.

import { expect, test } from 'vitest'
import { discordEvents, type EventsOptions } from '../../src/discord/events.ts'

test('of messages deleted in bulk all are retracted, although one retraction fails', async () => {
  const retracted: string[] = []
  const failure = new Error('No.')
  const sink = {
    async retract(id: string) {
      if (retracted.push(id) === 1) throw failure
    },
  }
  const handle = discordEvents({ sink, now: () => 0 } as unknown as EventsOptions)
  await expect(handle('MESSAGE_DELETE_BULK', { ids: ['1', '2', '3'] })).rejects.toBe(failure)
  // Each message and its edited form.
  expect(retracted).toHaveLength(6)
})

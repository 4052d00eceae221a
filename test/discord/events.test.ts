// Events as they come, without a connection.

import { expect, test } from 'vitest'
import { discordEvents, type EventsOptions } from '../../src/discord/events.ts'

test('of messages deleted together one that cannot be forgotten now keeps none of the others', async () => {
  const retracted: string[] = []
  const failure = new Error('No.')
  const sink = {
    async retract(id: string) {
      if (retracted.push(id) === 1) throw failure
    },
  }
  const handle = discordEvents({ sink, now: () => 0 } as unknown as EventsOptions)
  await expect(handle('MESSAGE_DELETE_BULK', { ids: ['1', '2', '3'] })).rejects.toBe(failure)
  // Each as it was asked, and as it was edited.
  expect(retracted).toHaveLength(6)
})

// Gateway events replayed without a connection.

import { expect, test } from 'vitest'
import { discordEvents, type EventsOptions } from '../../src/discord/events.ts'
import { attachment, ME, message } from './payloads.ts'

test('a file that an edit removes is retracted by its own id', async () => {
  const retracted: string[] = []
  const sink = { retract: async (id: string) => void retracted.push(id), submit: async () => {} }
  const contextOf = () => ({ me: ME, now: 0, messageContent: true })
  const handle = discordEvents({ sink, contextOf, now: () => 0 } as unknown as EventsOptions)
  const files = [attachment('1'), attachment('2')]
  await handle('MESSAGE_CREATE', message({ attachments: files }))
  await handle('MESSAGE_UPDATE', message({ attachments: files.slice(1) }))
  expect(retracted).toEqual(['discord/file/1'])
})

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

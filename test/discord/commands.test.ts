// The table of commands: Discord's limits, and when it is registered.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { discordApi } from '../../src/discord/api.ts'
import { COMMANDS, registerCommands } from '../../src/discord/commands.ts'
import { type DiscordDouble, startDiscordDouble } from './double/index.ts'

let discord: DiscordDouble
beforeEach(async () => {
  discord = await startDiscordDouble()
})
afterEach(() => discord.close())

test('names and descriptions fit Discord’s limits in every language', () => {
  const described = COMMANDS.flatMap((command) => [command, ...((command['options'] ?? []) as object[])]) as {
    type: number
    name: string
    description?: string
    description_localizations?: Record<string, string>
  }[]
  for (const { name, description = '', description_localizations = {} } of described) {
    if (name !== 'Describe this image') {
      expect(name).toMatch(/^[-_a-z0-9]{1,32}$/)
      expect(Object.keys(description_localizations)).toEqual(['de', 'es-ES', 'es-419', 'fr', 'ja'])
      for (const text of [description, ...Object.values(description_localizations)]) {
        expect(text.length).toBeGreaterThan(0)
        expect(text.length).toBeLessThanOrEqual(100)
      }
    }
  }
})
test('required options come before the others', () => {
  for (const command of COMMANDS) {
    const required = ((command['options'] ?? []) as { required: boolean }[]).map((option) => option.required)
    expect(required).toEqual([...required].sort((a, b) => Number(b) - Number(a)))
  }
})
test('they replace those of an older version', async () => {
  discord.world.commands.push({ name: 'gone', type: 1, description: 'x' })
  await registerCommands(discordApi(discord), discord.botId)
  expect(discord.world.commands.map(({ name }) => name)).toEqual(COMMANDS.map(({ name }) => name))
})
test('people can install them for themselves, where the application allows that', async () => {
  const installs = () => discord.world.commands.map((command) => command['integration_types'])
  await registerCommands(discordApi(discord), discord.botId)
  expect(installs()).toEqual(COMMANDS.map(({ name }) => (name === 'caption-settings' ? [0] : [0, 1])))
  discord.fault({ on: /^PUT /, status: 400, code: 50_035 })
  await registerCommands(discordApi(discord), discord.botId)
  expect(installs()).toEqual(COMMANDS.map(() => [0]))
})
test('by default people who may manage channels may switch automatic captions on', () => {
  const settings = COMMANDS.find(({ name }) => name === 'caption-settings')
  expect(settings).toMatchObject({ default_member_permissions: '16', contexts: [0] })
})

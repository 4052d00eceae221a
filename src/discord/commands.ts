// The bot's commands as Discord lists them, in every language we have, registered only when they changed.

import { isDeepStrictEqual } from 'node:util'
import { Routes } from 'discord.js'
import { z } from 'zod'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import type { DiscordApi } from './api.ts'
import { parsePayload } from './payloads.ts'

export const CAPTION = 'caption'
export const ASK = 'ask'
export const SETTINGS = 'caption-settings'
export const PRIVACY = 'caption-privacy'
/** In the menu of a message. One name in all languages, so that a help text can name it. */
export const DESCRIBE = 'Describe this image'
export const OPTIONS = {
  image: 'image',
  question: 'question',
  automatic: 'automatic',
  optOut: 'opt-out',
} as const

/** `CHAT_INPUT` and `MESSAGE` (resource "Application commands", "Application command types"). */
export const CHAT_INPUT = 1
export const MESSAGE = 3
/** "Application command option type". */
const STRING = 3
const BOOLEAN = 5
const ATTACHMENT = 11

/** Installed in a server; used there and in direct messages with the bot. */
const GUILD_INSTALL = 0
const GUILD = 0
const BOT_DM = 1
const MANAGE_CHANNELS = String(1 << 4)

/** Discord's names of locales that we have words for (reference "Locales"); English is what others see. */
const LOCALES = ['de', 'es-ES', 'es-419', 'fr', 'ja']

const ENGLISH = messagesFor('en').command

type TextPicker = (messages: Messages['command']) => string

const described = (pick: TextPicker) => ({
  description: pick(ENGLISH),
  description_localizations: Object.fromEntries(
    LOCALES.map((locale) => [locale, pick(messagesFor(locale).command)]),
  ),
})
const anywhere = { contexts: [GUILD, BOT_DM], integration_types: [GUILD_INSTALL] }

const image = (pick: TextPicker, required: boolean) => ({
  type: ATTACHMENT,
  name: OPTIONS.image,
  ...described(pick),
  required,
  file_types: ['image'],
})
const question = (pick: TextPicker, required: boolean) => ({
  type: STRING,
  name: OPTIONS.question,
  ...described(pick),
  required,
})

/** Body of "Bulk overwrite global application commands". */
export const COMMANDS: readonly Record<string, unknown>[] = [
  {
    type: CHAT_INPUT,
    name: CAPTION,
    ...described((messages) => messages.caption),
    ...anywhere,
    options: [
      image((messages) => messages.captionImage, true),
      question((messages) => messages.captionQuestion, false),
    ],
  },
  {
    type: CHAT_INPUT,
    name: ASK,
    ...described((messages) => messages.ask),
    ...anywhere,
    options: [
      question((messages) => messages.askQuestion, true),
      image((messages) => messages.askImage, false),
    ],
  },
  {
    type: CHAT_INPUT,
    name: SETTINGS,
    ...described((messages) => messages.settings),
    contexts: [GUILD],
    integration_types: [GUILD_INSTALL],
    // Who may is the server's to change: Discord asks its administrators, and checks.
    default_member_permissions: MANAGE_CHANNELS,
    options: [
      {
        type: BOOLEAN,
        name: OPTIONS.automatic,
        ...described((messages) => messages.settingsAutomatic),
        required: true,
      },
    ],
  },
  {
    type: CHAT_INPUT,
    name: PRIVACY,
    ...described((messages) => messages.privacy),
    ...anywhere,
    options: [
      {
        type: BOOLEAN,
        name: OPTIONS.optOut,
        ...described((messages) => messages.privacyOptOut),
        required: true,
      },
    ],
  },
  { type: MESSAGE, name: DESCRIBE, ...anywhere },
]

/** Discord takes 200 new commands a day: it is told only what it does not have. True when it was. */
export async function registerCommands(api: DiscordApi, applicationId: string): Promise<boolean> {
  const route = Routes.applicationCommands(applicationId)
  const answer = await api.call('GET', route, { query: { with_localizations: 'true' } })
  const registered = parsePayload(z.array(z.looseObject({ name: z.string() })), answer, 'a list of commands')
  const isSame =
    registered.length === COMMANDS.length &&
    COMMANDS.every((ours) => registered.some((theirs) => hasAll(theirs, ours)))
  if (!isSame) await api.call('PUT', route, { body: COMMANDS })
  return !isSame
}

/** Whether all that we set is set so. Discord adds ids and defaults, and leaves out an option's `required: false`. */
function hasAll(theirs: unknown, ours: unknown): boolean {
  if (Array.isArray(ours)) {
    return (
      Array.isArray(theirs) &&
      theirs.length === ours.length &&
      ours.every((each, index) => hasAll(theirs[index], each))
    )
  }
  if (typeof ours !== 'object' || ours === null) return isDeepStrictEqual(theirs ?? false, ours)
  if (typeof theirs !== 'object' || theirs === null) return false
  const values = theirs as Record<string, unknown>
  return Object.entries(ours).every(([key, value]) => hasAll(values[key], value))
}

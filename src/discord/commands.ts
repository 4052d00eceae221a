// The bot's commands in every language, registered with Discord when they have changed.

import {
  ApplicationCommandType,
  ApplicationIntegrationType,
  InteractionContextType,
  Locale,
  ApplicationCommandOptionType as OptionType,
  PermissionFlagsBits,
  Routes,
} from 'discord.js'
import { z } from 'zod'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import type { DiscordApi } from './api.ts'
import { parsePayload } from './payloads.ts'

export const CAPTION = 'caption'
export const ASK = 'ask'
export const SETTINGS = 'caption-settings'
export const PRIVACY = 'caption-privacy'
/** In the menu of a message. The name is the same in all languages, so that a help text can contain it. */
export const DESCRIBE = 'Describe this image'
export const OPTIONS = {
  image: 'image',
  question: 'question',
  automatic: 'automatic',
  optOut: 'opt-out',
} as const

/** Discord's locales that have texts. In others Discord shows English. */
const LOCALES = [Locale.German, Locale.SpanishES, Locale.SpanishLATAM, Locale.French, Locale.Japanese]

type TextKey = keyof Messages['command']

const described = (key: TextKey) => ({
  description: messagesFor('en').command[key],
  description_localizations: Object.fromEntries(
    LOCALES.map((locale) => [locale, messagesFor(locale).command[key]]),
  ),
})
const option = (type: OptionType, name: string, key: TextKey, required = true) => ({
  type,
  name,
  ...described(key),
  required,
  ...(type === OptionType.Attachment ? { file_types: ['image'] } : {}),
})
const { Guild, BotDM } = InteractionContextType
const anywhere = { contexts: [Guild, BotDM], integration_types: [ApplicationIntegrationType.GuildInstall] }
const command = (name: string, key: TextKey, ...options: object[]) => ({
  type: ApplicationCommandType.ChatInput,
  name,
  ...described(key),
  ...anywhere,
  options,
})

/** Body of "Bulk overwrite global application commands". */
export const COMMANDS: readonly Record<string, unknown>[] = [
  command(
    CAPTION,
    'caption',
    option(OptionType.Attachment, OPTIONS.image, 'captionImage'),
    option(OptionType.String, OPTIONS.question, 'captionQuestion', false),
  ),
  command(
    ASK,
    'ask',
    option(OptionType.String, OPTIONS.question, 'askQuestion'),
    option(OptionType.Attachment, OPTIONS.image, 'askImage', false),
  ),
  {
    ...command(SETTINGS, 'settings', option(OptionType.Boolean, OPTIONS.automatic, 'settingsAutomatic')),
    contexts: [Guild],
    // Discord checks the permission. Administrators of a server can change who may use the command.
    default_member_permissions: `${PermissionFlagsBits.ManageChannels}`,
  },
  command(PRIVACY, 'privacy', option(OptionType.Boolean, OPTIONS.optOut, 'privacyOptOut')),
  { type: ApplicationCommandType.Message, name: DESCRIBE, ...anywhere },
]

/** Registers the commands unless Discord has them all: it accepts 200 new ones a day. Returns whether it registered. */
export async function registerCommands(api: DiscordApi, applicationId: string): Promise<boolean> {
  const route = Routes.applicationCommands(applicationId)
  const answer = await api('GET', route, { query: { with_localizations: 'true' } })
  const registered = parsePayload(z.array(z.looseObject({ name: z.string() })), answer, 'a list of commands')
  const isSame =
    registered.length === COMMANDS.length &&
    COMMANDS.every((command) => registered.some((each) => contains(each, command)))
  if (!isSame) await api('PUT', route, { body: COMMANDS })
  return !isSame
}

/** Whether Discord's value has all that `wanted` has. Discord adds ids and defaults, and omits `required: false`. */
function contains(actual: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return (actual ?? false) === wanted
  if (typeof actual !== 'object' || actual === null) return false
  if (Array.isArray(wanted) && (actual as unknown[]).length !== wanted.length) return false
  const values = actual as Record<string, unknown>
  return Object.entries(wanted).every(([key, value]) => contains(values[key], value))
}

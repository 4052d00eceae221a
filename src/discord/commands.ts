// The bot's commands in every language, registered with Discord at each start.

import {
  ApplicationCommandType,
  ApplicationIntegrationType,
  InteractionContextType,
  Locale,
  ApplicationCommandOptionType as OptionType,
  PermissionFlagsBits,
  RESTJSONErrorCodes,
  Routes,
} from 'discord.js'
import { messagesFor } from '../i18n/languages.ts'
import type { Messages } from '../i18n/messages.ts'
import { type DiscordApi, isDiscordError } from './api.ts'

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
const { Guild, BotDM, PrivateChannel } = InteractionContextType
const { GuildInstall, UserInstall } = ApplicationIntegrationType
/** With a user install, a person has the commands in every server and conversation, also where the bot is not. */
const anywhere = {
  contexts: [Guild, BotDM, PrivateChannel],
  integration_types: [GuildInstall, UserInstall],
}
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
    integration_types: [GuildInstall],
    // Discord checks the permission. Administrators of a server can change who may use the command.
    default_member_permissions: `${PermissionFlagsBits.ManageChannels}`,
  },
  command(PRIVACY, 'privacy', option(OptionType.Boolean, OPTIONS.optOut, 'privacyOptOut')),
  { type: ApplicationCommandType.Message, name: DESCRIBE, ...anywhere },
]

/**
 * Replaces the registered commands. Discord accepts 200 new ones a day; those that exist do not count ("Bulk overwrite global
 * application commands").
 */
export async function registerCommands(api: DiscordApi, applicationId: string): Promise<void> {
  const route = Routes.applicationCommands(applicationId)
  await api('PUT', route, { body: COMMANDS }).catch(async (error: unknown) => {
    if (!isDiscordError(error, RESTJSONErrorCodes.InvalidFormBodyOrContentType)) throw error
    // The developer portal does not allow user installs of this application.
    const inServers = { contexts: [Guild, BotDM], integration_types: [GuildInstall] }
    const body = COMMANDS.map((each) => (each['name'] === SETTINGS ? each : { ...each, ...inServers }))
    await api('PUT', route, { body })
  })
}

// Interactions as Discord sends them. Only commands that the bot registered can be used.

import { ChannelType } from 'discord.js'
import {
  attach,
  type Channel,
  type File,
  findMessage,
  fresh,
  type StoredInteraction,
  type World,
} from './state.ts'

export interface Invocation {
  /** A command's name, or with `target` that of an entry in a message's menu. */
  command: string
  options?: Record<string, string | boolean | File>
  target?: string
  /** Locale of the user. Default en-US. */
  locale?: string
}

const TYPES = { string: 3, boolean: 5, object: 11 } as const

export function interactionPayload(
  world: World,
  user: string,
  channel: Channel,
  invocation: Invocation,
): { interaction: StoredInteraction; payload: object } {
  const { command: name, options = {}, target, locale = 'en-US' } = invocation
  const type = target === undefined ? 1 : 3
  const command = world.commands.find((each) => each['name'] === name && each['type'] === type)
  if (!command) throw new Error(`Expected a registered command but got ${name}.`)
  const declared = (command['options'] ?? []) as { name: string; type: number; required?: boolean }[]
  const attachments: Record<string, object> = {}
  const given = Object.entries(options).map(([option, value]) => {
    const kind = TYPES[typeof value as keyof typeof TYPES]
    if (!declared.some((each) => each.name === option && each.type === kind)) {
      throw new Error(`Expected a declared option of ${name} but got ${option}.`)
    }
    if (typeof value !== 'object') return { name: option, type: kind, value }
    // Discord stores these apart from messages, for a short time.
    const attachment = { ...attach(world, 'ephemeral', value), ephemeral: true }
    attachments[attachment.id] = attachment
    return { name: option, type: kind, value: attachment.id }
  })
  for (const { name: option, required } of declared) {
    if (required && !(option in options)) throw new Error(`Expected the option ${option} of ${name}.`)
  }

  const interaction: StoredInteraction = {
    id: world.snowflake(),
    token: `token-${world.snowflake()}`,
    user,
    channel: channel.id,
    ageMs: 0,
    state: 'new',
    failed: false,
  }
  const targeted = target === undefined ? undefined : findMessage(world, channel.id, target)?.message
  const person = world.users.get(user)!
  const isDirect = channel.type === ChannelType.DM
  const payload = {
    id: interaction.id,
    application_id: world.bot.id,
    type: 2,
    token: interaction.token,
    version: 1,
    locale,
    channel_id: channel.id,
    channel: { id: channel.id, type: channel.type, name: channel.name },
    app_permissions: '0',
    entitlements: [],
    authorizing_integration_owners: {},
    attachment_size_limit: 10_485_760,
    context: isDirect ? 1 : 0,
    ...(isDirect
      ? { user: person }
      : {
          guild_id: world.guild.id,
          guild_locale: world.guild.locale,
          member: {
            user: person,
            roles: [],
            joined_at: '2026-01-01T00:00:00.000Z',
            deaf: false,
            mute: false,
            flags: 0,
            permissions: '0',
          },
        }),
    data: {
      id: command['id'],
      name,
      type,
      ...(given.length > 0 ? { options: given } : {}),
      ...(targeted
        ? { target_id: target, resolved: { messages: { [targeted.id]: fresh(world, targeted) } } }
        : {}),
      ...(Object.keys(attachments).length > 0 ? { resolved: { attachments } } : {}),
    },
  }
  return { interaction, payload }
}

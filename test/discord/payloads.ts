// Payloads in the shape of Discord's gateway, with fields that Glimpse does not read. Written by hand after the examples of
// docs.discord.com; ids, names and URLs are invented.

import type { Question } from '../../src/chat/question.ts'
import { readInteraction } from '../../src/discord/interactions.ts'

export const ME = '900000000000000001'
export const ANN = '900000000000000002'
export const BEN = '900000000000000003'
export const CHANNEL = '900000000000000010'
export const GUILD = '900000000000000020'
export const THREAD = '900000000000000030'

export function person(id: string, more: object = {}): Record<string, unknown> {
  return {
    id,
    username: `user${id.slice(-2)}`,
    global_name: `User ${id.slice(-2)}`,
    discriminator: '0',
    avatar: '0123456789abcdef0123456789abcdef',
    avatar_decoration_data: null,
    public_flags: 0,
    primary_guild: null,
    clan: null,
    ...more,
  }
}

export function attachment(id: string, more: object = {}): Record<string, unknown> {
  return {
    id,
    filename: 'photo.png',
    size: 48_213,
    url: `https://cdn.discordapp.com/attachments/${CHANNEL}/${id}/photo.png?ex=6a000000&is=69ffff00&hm=00ff&`,
    proxy_url: `https://media.discordapp.net/attachments/${CHANNEL}/${id}/photo.png?ex=6a000000&is=69ffff00&hm=00ff&`,
    width: 640,
    height: 480,
    content_type: 'image/png',
    content_scan_version: 2,
    placeholder: 'CAgGBwAAAAAA',
    placeholder_version: 1,
    ...more,
  }
}

/** The `d` of a MESSAGE_CREATE. */
export function message(more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: '900000000000000100',
    channel_id: CHANNEL,
    channel_type: 0,
    guild_id: GUILD,
    type: 0,
    tts: false,
    timestamp: '2026-11-25T10:00:00.000000+00:00',
    pinned: false,
    nonce: '900000000000000099',
    mentions: [],
    mention_roles: [],
    mention_everyone: false,
    member: {
      roles: [],
      nick: null,
      mute: false,
      deaf: false,
      joined_at: '2026-01-01T00:00:00.000000+00:00',
    },
    flags: 0,
    embeds: [],
    edited_timestamp: null,
    content: '',
    components: [],
    author: person(ANN),
    attachments: [],
    ...more,
  }
}

export function mentioning(content: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return message({ content, mentions: [{ ...person(ME, { bot: true }), member: { roles: [] } }], ...more })
}

/** The fields of a reply, with the message replied to as Discord sends it. */
export function replying(referenced: unknown, more: Record<string, unknown> = {}): Record<string, unknown> {
  const id = (referenced as { id?: string } | null)?.id ?? '900000000000000055'
  return {
    type: 19,
    message_reference: { type: 0, channel_id: CHANNEL, message_id: id, guild_id: GUILD },
    referenced_message: referenced,
    ...more,
  }
}

/** The `d` of an INTERACTION_CREATE, and the body of a request to an endpoint. */
export function interaction(data: Record<string, unknown>, more: Record<string, unknown> = {}): object {
  return {
    version: 1,
    type: 2,
    token: 'aW50ZXJhY3Rpb246bm90LWEtcmVhbC10b2tlbg',
    id: '900000000000000200',
    application_id: ME,
    channel_id: CHANNEL,
    channel: {
      id: CHANNEL,
      type: 0,
      name: 'pictures',
      guild_id: GUILD,
      permissions: '2248473465835073',
      flags: 0,
    },
    guild_id: GUILD,
    guild: { id: GUILD, locale: 'en-US', features: [] },
    guild_locale: 'en-US',
    locale: 'de',
    context: 0,
    authorizing_integration_owners: { '0': GUILD },
    app_permissions: '2248473465835073',
    attachment_size_limit: 10_485_760,
    entitlements: [],
    entitlement_sku_ids: [],
    member: {
      user: person(ANN),
      roles: [],
      nick: null,
      permissions: '2248473465835073',
      joined_at: '2026-01-01T00:00:00.000000+00:00',
    },
    data: { id: '900000000000000300', type: 1, ...data },
    ...more,
  }
}

/** The question of an interaction; undefined for one that is no question. */
export function questionOfInteraction(payload: unknown, now: number): Question | undefined {
  const incoming = readInteraction(payload, now)
  return incoming.kind === 'question' ? incoming.question : undefined
}

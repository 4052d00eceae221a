// Gateway events about servers -> what a message does not say itself: its server's locale, the bot's own role in it, and
// whether its channel is a thread. Discord sends all of it after connecting, and each change later.
//
// Source: docs.discord.com/developers, "Gateway events", GUILD_CREATE and the events of threads and roles.

import { ChannelType, GatewayDispatchEvents as Event } from 'discord.js'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import { list, maybe } from '../chat/payload.ts'

/** Threads that are remembered; Discord sends a new message with the type of its channel, so few are needed. */
const MAX_THREADS = 50_000
const MAX_GUILDS = 10_000

const id = z.string()
const identified = z.object({ id })
/** A managed role belongs to the bot that its tags name. */
const role = z.object({ id, tags: maybe(z.object({ bot_id: maybe(id) })) })
const guildSchema = z.object({
  id,
  preferred_locale: maybe(z.string()),
  roles: list(role),
  threads: list(identified),
})
const roleSchema = z.object({ guild_id: id, role })
const threadsSchema = z.object({ threads: list(identified) })

interface Guild {
  locale?: string
  /** Id of the bot's own role. A mention of it is a mention of the bot. */
  role?: string
}

export interface Guilds {
  /** Reads one gateway event. Events of other names, and those of an unknown shape, change nothing. */
  read(type: string, data: unknown): void
  guild(id: string | undefined): Guild
  isThread(channel: string): boolean
}

/** @param me returns the bot's own user id, once Discord has said it */
export function openGuilds(me: () => string): Guilds {
  const guilds = new LRUCache<string, Guild>({ max: MAX_GUILDS })
  const threads = new LRUCache<string, true>({ max: MAX_THREADS })
  const known = (guild: string): Guild => guilds.get(guild) ?? {}
  const isOurs = ({ tags }: z.infer<typeof role>) => tags?.bot_id !== undefined && tags.bot_id === me()

  const readers: Record<string, (data: unknown) => void> = {
    [Event.GuildCreate](data) {
      const guild = guildSchema.safeParse(data).data
      if (!guild) return
      guilds.set(guild.id, { locale: guild.preferred_locale, role: guild.roles.find(isOurs)?.id })
      for (const thread of guild.threads) threads.set(thread.id, true)
    },
    [Event.GuildUpdate](data) {
      const guild = guildSchema.safeParse(data).data
      if (guild) guilds.set(guild.id, { ...known(guild.id), locale: guild.preferred_locale })
    },
    [Event.GuildRoleCreate](data) {
      const created = roleSchema.safeParse(data).data
      if (created && isOurs(created.role))
        guilds.set(created.guild_id, { ...known(created.guild_id), role: created.role.id })
    },
    [Event.ThreadCreate](data) {
      const thread = z.object({ id, type: maybe(z.number()) }).safeParse(data).data
      if (thread && thread.type !== ChannelType.GuildText) threads.set(thread.id, true)
    },
    [Event.ThreadListSync](data) {
      for (const thread of threadsSchema.safeParse(data).data?.threads ?? []) threads.set(thread.id, true)
    },
  }
  return {
    read: (type, data) => readers[type]?.(data),
    guild: (guild) => (guild === undefined ? {} : known(guild)),
    isThread: (channel) => threads.has(channel),
  }
}

// Discord's payloads -> the fields that Glimpse reads, checked once.
//
// Source: docs.discord.com/developers, resources "Message" and "Application commands", and "Receiving and responding".

import { z } from 'zod'
import { list, maybe } from '../chat/payload.ts'
import { UpstreamError } from '../errors.ts'

const id = z.string().min(1)
const text = maybe(z.string())
const number = maybe(z.number())
const user = z.object({ id, bot: maybe(z.boolean()) })

/** For objects of which only the id is read. */
export const identifiedSchema = z.object({ id })

const attachmentSchema = z.object({
  id,
  url: z.string(),
  filename: z.string().default(''),
  content_type: text,
  /** What people wrote as the picture's alternative text. */
  description: text,
  size: number,
  /** Address of the media proxy, which scales and converts the picture. */
  proxy_url: text,
  width: number,
  height: number,
  flags: number,
})

/** A picture of an embed or component. `proxy_url` is on Discord's hosts, whatever site `url` is on. */
export const mediaSchema = z.object({
  url: z.string(),
  proxy_url: text,
  width: number,
  height: number,
  content_type: text,
  spoiler: maybe(z.boolean()),
  description: text,
})

const contentsSchema = z.object({
  content: z.string().default(''),
  attachments: list(attachmentSchema),
  embeds: list(z.object({ image: maybe(mediaSchema), thumbnail: maybe(mediaSchema) })),
  sticker_items: list(z.object({ id, name: z.string().default(''), format_type: number })),
  /** Nested, and of many kinds: pictures.ts searches them. */
  components: maybe(z.unknown()),
})

/** A message inside another payload: the one replied to, or the target of a command. */
const shownSchema = contentsSchema.extend({
  id,
  channel_id: maybe(id),
  author: maybe(user),
  /** Forwarded messages. Discord does not name their author. */
  message_snapshots: list(z.object({ message: contentsSchema })),
  message_reference: maybe(z.object({ message_id: maybe(id), channel_id: maybe(id) })),
})

export const messageSchema = shownSchema.extend({
  channel_id: id,
  channel_type: number,
  guild_id: maybe(id),
  type: z.number().default(0),
  flags: z.number().default(0),
  webhook_id: maybe(id),
  timestamp: text,
  edited_timestamp: text,
  mentions: list(user),
  mention_roles: list(id),
  /** Null: the message is deleted. Absent: Discord did not fetch it. */
  referenced_message: shownSchema.nullish(),
})

export const interactionSchema = z.object({
  id,
  application_id: id,
  type: z.number(),
  token: z.string().default(''),
  guild_locale: text,
  locale: text,
  channel_id: maybe(id),
  channel: maybe(z.object({ type: number })),
  /** The user in a server. In a direct message it is `user`. */
  member: maybe(z.object({ user, permissions: text })),
  user: maybe(user),
  /** The message whose button was pressed. */
  message: maybe(z.object({ id, flags: z.number().default(0) })),
  data: maybe(
    z.object({
      name: text,
      type: number,
      /** Of a button, or of a modal. */
      custom_id: text,
      /** What was entered in a modal, nested. */
      components: maybe(z.unknown()),
      target_id: maybe(id),
      options: list(z.object({ name: z.string(), value: z.unknown() })),
      resolved: maybe(
        z.object({
          attachments: maybe(z.record(z.string(), attachmentSchema)),
          messages: maybe(z.record(z.string(), shownSchema)),
        }),
      ),
    }),
  ),
})

export type Media = z.infer<typeof mediaSchema>
export type Contents = z.infer<typeof contentsSchema>
export type Attachment = z.infer<typeof attachmentSchema>
export type ShownMessage = z.infer<typeof shownSchema>
export type Message = z.infer<typeof messageSchema>
export type Interaction = z.infer<typeof interactionSchema>

/** The error names the field, and contains no value of it. @throws UpstreamError `discord_payload` */
export function parsePayload<T>(schema: z.ZodType<T>, payload: unknown, what: string): T {
  const parsed = schema.safeParse(payload)
  if (parsed.success) return parsed.data
  const { path, message } = parsed.error.issues[0]!
  throw new UpstreamError(
    'discord_payload',
    `Expected ${what} from Discord but at "${path.join('.')}": ${message}.`,
  )
}

/** @throws UpstreamError `discord_payload` */
export function parseMessage(payload: unknown): Message {
  return parsePayload(messageSchema, payload, 'a message')
}

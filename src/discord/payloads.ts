// What Discord sends, as far as we read it: checked once, unknown fields dropped, missing optional ones tolerated.
//
// Source: docs.discord.com/developers, resources "Message" and "Application commands" and "Receiving and responding".

import { z } from 'zod'
import { UpstreamError } from '../errors.ts'

/** Absent and null mean the same, unless a comment says otherwise. */
const maybe = <T extends z.ZodType>(schema: T) => schema.nullish().transform((value) => value ?? undefined)
const list = <T extends z.ZodType>(schema: T) =>
  z
    .array(schema)
    .nullish()
    .transform((value) => value ?? [])
const id = z.string().min(1)
const user = z.object({ id, bot: maybe(z.boolean()) })

const attachmentSchema = z.object({
  id,
  url: z.string(),
  filename: z.string().default(''),
  content_type: maybe(z.string()),
  size: maybe(z.number()),
  /** The same through the media proxy, which can make it smaller and another format. */
  proxy_url: maybe(z.string()),
  width: maybe(z.number()),
  height: maybe(z.number()),
  flags: maybe(z.number()),
})

const contents = {
  content: z.string().default(''),
  attachments: list(attachmentSchema),
}

/** A message that another one shows: replied to, or the target of a command. */
const shownSchema = z.object({
  id,
  channel_id: maybe(id),
  author: maybe(user),
  ...contents,
  embeds: list(z.unknown()),
  /** What a forward carries; whose it was is not told. */
  message_snapshots: list(z.object({ message: z.object(contents) })),
  message_reference: maybe(z.object({ message_id: maybe(id), channel_id: maybe(id) })),
})

export const messageSchema = shownSchema.extend({
  channel_id: id,
  channel_type: maybe(z.number()),
  guild_id: maybe(id),
  type: z.number().default(0),
  webhook_id: maybe(id),
  mentions: list(user),
  /** Null: deleted. Absent: Discord did not look. */
  referenced_message: shownSchema.nullish(),
})

const optionSchema = z.object({ name: z.string(), value: z.unknown() })

export const interactionSchema = z.object({
  id,
  application_id: id,
  type: z.number(),
  token: z.string().default(''),
  guild_locale: maybe(z.string()),
  locale: maybe(z.string()),
  channel_id: maybe(id),
  channel: maybe(z.object({ type: maybe(z.number()) })),
  /** In a server; elsewhere it is `user`. */
  member: maybe(z.object({ user })),
  user: maybe(user),
  data: maybe(
    z.object({
      name: maybe(z.string()),
      type: maybe(z.number()),
      target_id: maybe(id),
      options: list(optionSchema),
      resolved: maybe(
        z.object({
          attachments: maybe(z.record(z.string(), attachmentSchema)),
          messages: maybe(z.record(z.string(), shownSchema)),
        }),
      ),
    }),
  ),
})

export type Attachment = z.infer<typeof attachmentSchema>
export type ShownMessage = z.infer<typeof shownSchema>
export type Message = z.infer<typeof messageSchema>
export type Interaction = z.infer<typeof interactionSchema>

/** Says where it is not as expected, and nothing of what it holds. @throws UpstreamError `discord_payload` */
export function parsePayload<T>(schema: z.ZodType<T>, payload: unknown, what: string): T {
  const parsed = schema.safeParse(payload)
  if (parsed.success) return parsed.data
  const { path, message } = parsed.error.issues[0]!
  throw new UpstreamError(
    'discord_payload',
    `Expected ${what} from Discord but at "${path.join('.')}": ${message}.`,
  )
}

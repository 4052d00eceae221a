// Slack's payloads -> the fields that Glimpse reads, checked once.
//
// Source: docs.slack.dev, "Message event", "File object" and "Interaction payloads".

import { z } from 'zod'
import { list, maybe } from '../chat/payload.ts'

const text = maybe(z.string())

export const fileSchema = z.object({
  id: z.string(),
  name: text,
  /** What people wrote as the picture's alternative text. */
  alt_txt: text,
  mimetype: text,
  filetype: text,
  size: maybe(z.number()),
  mode: text,
  file_access: text,
  url_private: text,
  url_private_download: text,
  original_w: maybe(z.number()),
  original_h: maybe(z.number()),
  thumb_1024: text,
  thumb_960: text,
  thumb_800: text,
  thumb_720: text,
})

/** A message in an event, in a shortcut and in a thread. */
export const messageSchema = z.object({
  ts: z.string(),
  thread_ts: text,
  subtype: text,
  user: text,
  bot_id: text,
  text: z
    .string()
    .nullish()
    .transform((value) => value ?? ''),
  files: list(fileSchema),
  /** Includes quoted messages. */
  attachments: list(
    z.object({
      author_id: text,
      files: list(fileSchema),
      blocks: maybe(z.unknown()),
      message_blocks: maybe(z.unknown()),
    }),
  ),
  /** Nested, and of many kinds: pictures.ts searches them. */
  blocks: maybe(z.unknown()),
})

/** A message event: a new message, an edit or a deletion. */
export const messageEventSchema = messageSchema.extend({
  channel: z.string(),
  channel_type: text,
  deleted_ts: text,
  message: maybe(messageSchema),
  previous_message: maybe(messageSchema),
})

export type SlackFile = z.infer<typeof fileSchema>
export type SlackMessage = z.infer<typeof messageSchema>
export type SlackMessageEvent = z.infer<typeof messageEventSchema>

// What Slack sends, as far as it is read: checked once, unknown fields kept, missing optional ones tolerated.
//
// Source: docs.slack.dev, "Message event", "File object" and "Interaction payloads".

import { z } from 'zod'

export const fileSchema = z.looseObject({
  id: z.string(),
  mimetype: z.string().nullish(),
  filetype: z.string().nullish(),
  size: z.number().nullish(),
  mode: z.string().nullish(),
  file_access: z.string().nullish(),
  url_private: z.string().nullish(),
  url_private_download: z.string().nullish(),
  thumb_1024: z.string().nullish(),
  thumb_960: z.string().nullish(),
  thumb_720: z.string().nullish(),
})

export type SlackFile = z.infer<typeof fileSchema>

const filesSchema = z.array(fileSchema).nullish()

/** What a message in an event, in a shortcut and in a thread have in common. */
export const messageSchema = z.looseObject({
  ts: z.string(),
  thread_ts: z.string().nullish(),
  subtype: z.string().nullish(),
  user: z.string().nullish(),
  bot_id: z.string().nullish(),
  text: z.string().nullish(),
  files: filesSchema,
  /** Quoted messages, among others. */
  attachments: z.array(z.looseObject({ author_id: z.string().nullish(), files: filesSchema })).nullish(),
  blocks: z.array(z.looseObject({ type: z.string(), file_id: z.string().nullish() })).nullish(),
})

export type SlackMessage = z.infer<typeof messageSchema>

/** Of whatever Slack sends: an event, a command, a click. */
export function teamOf(body: unknown): string {
  const { team_id, team } = z
    .looseObject({ team_id: z.string().nullish(), team: z.looseObject({ id: z.string() }).nullish() })
    .parse(body)
  return team_id ?? team?.id ?? 'unknown'
}

// A chat message that wants an answer, as plain data: it can wait in a queue or the store, and any process can answer it.
// slack/message.ts makes it from an app mention or a message, slack/interactions.ts from a shortcut, discord/message.ts
// and discord/interactions.ts from Discord's events. processor.ts answers it.

import { z } from 'zod'
import { isTaskName, taskNamed } from '../engine/tasks.ts'

/** A picture on a platform, before it is fetched. */
const pictureSchema = z.object({
  /** Address of its bytes; absent when only the platform's API knows it (a Slack Connect stub). */
  url: z.string().optional(),
  /** The platform's id of the file. */
  id: z.string(),
  /** The file's name, by which a reply may name the picture. */
  name: z.string().optional(),
  /** What its author wrote as its alternative text. It then gets no automatic caption. */
  altText: z.string().optional(),
  /** The id by which the deletion of the message that it is attached to is reported (`QuestionSink.retract`). */
  postedIn: z.string().optional(),
  /** A smaller version by the platform, for a file that is too large or in a format that cannot be decoded. */
  smallerUrl: z.string().optional(),
  sizeBytes: z.number().optional(),
  /** The decoder cannot take the original: too many bytes or pixels, or HEIC. `smallerUrl` is taken instead. */
  isUnreadable: z.boolean().optional(),
  /** Hidden until clicked. The text about it is hidden too. */
  spoiler: z.boolean().optional(),
  /** The message that it is attached to, where a fresh address is read from that message. */
  message: z.object({ channel: z.string(), id: z.string() }).optional(),
  /** The platform says that the file was deleted or cannot be read. */
  unavailable: z.boolean().optional(),
  /** The media type of a file that is no picture, for the answer that says so. */
  otherType: z.string().optional(),
})

export const questionSchema = z.object({
  /** Idempotency key: equal for every delivery of the same message. */
  id: z.string(),
  platform: z.string(),
  /** Why it is answered. For `automatic`, problems are not posted. */
  trigger: z.enum(['mention', 'direct', 'command', 'shortcut', 'follow_up', 'automatic']),
  /** A follow-up that replies to a message of the bot: answered even when that conversation has expired. */
  isToUs: z.boolean().optional(),
  asker: z.object({ id: z.string(), locale: z.string().optional() }),
  /** The words without the mention. Empty: a caption is wanted. */
  text: z.string(),
  /** A request of a named task, in its wire form. Absent: a caption or an answer, by the words. */
  request: z
    .object({ task: z.string(), fields: z.record(z.string(), z.unknown()) })
    .refine(({ task, fields }) => isTaskName(task) && taskNamed(task).fields.safeParse(fields).success)
    .optional(),
  /** From the nearest place that has any: the message, the message it quotes, the message it replies to. */
  pictures: z.array(pictureSchema),
  /** The message shows something that the bot cannot read: a link preview, a sticker, an embed. Then no earlier picture is meant. */
  hasUnseen: z.boolean().optional(),
  /** Who posted the pictures. After an opt-out, only they can ask about them, and there are no automatic captions. */
  owner: z.string().optional(),
  /** Names of the conversations that it may belong to, nearest first. */
  conversations: z.array(z.string()).min(1),
  /**
   * The one of `conversations` that has whatever was asked about last, in the channel by this person or in the direct
   * messages. A reply about its picture says which one that is.
   */
  lastAsked: z.string().optional(),
  /** The channel, as the key of the setting for automatic captions. */
  channel: z.string(),
  /** Id of the message whose deletion deletes the reply. */
  source: z.string().optional(),
  /** Names the message for every installation that may get it, where `id` is of this installation alone. */
  message: z.string().optional(),
  /** The id of the message's own question, when this is an edit of which it is not known what it changed. */
  editOf: z.string().optional(),
  /** Milliseconds since 1970. */
  askedAt: z.number(),
  /** Where the platform posts the reply. Only the platform reads it. */
  route: z.record(z.string(), z.unknown()),
})

export type PictureRef = z.infer<typeof pictureSchema>
/** The pictures of one message, and the id of the person who posted them where it is known. */
export interface NearestPictures {
  pictures: PictureRef[]
  owner?: string
}
export type Question = z.infer<typeof questionSchema>
export type Trigger = Question['trigger']

/** The pictures that need an automatic caption: their authors did not describe them. */
export function undescribed(pictures: readonly PictureRef[]): PictureRef[] {
  return pictures.filter(({ altText }) => altText === undefined)
}

/** What `QuestionSink.retract` is called with when a file is deleted from all messages. `id`: that of its PictureRef. */
export function fileKey(platform: string, id: string): string {
  return `${platform}/file/${id}`
}

/** Key of one person, the same in all workspaces or servers of a platform. */
export function personOf(platform: string, id: string): string {
  return `${platform}/${id}`
}

// What an adapter makes of a message: plain data, so that it can wait in a store or a queue and be answered elsewhere.

import { z } from 'zod'

/** A picture on a platform, before it is fetched. What it is called and how large it claims to be prove nothing. */
const pictureSchema = z.object({
  /** Where its bytes are; absent when only the platform can tell (a Slack Connect stub). */
  url: z.string().optional(),
  /** The platform's own id, to ask for a fresh address. */
  id: z.string(),
  /** A smaller version by the same platform, for one that is too large or in a format we do not read. */
  smallerUrl: z.string().optional(),
  sizeBytes: z.number().optional(),
  /** Hidden until clicked; then so is what is said about it. */
  spoiler: z.boolean().optional(),
  /** The message it hangs on, where a fresh address comes from that. */
  message: z.object({ channel: z.string(), id: z.string() }).optional(),
  /** Set when the platform says the file is gone or out of reach. */
  unavailable: z.boolean().optional(),
})

export const questionSchema = z.object({
  /** The same for every delivery of the same message: what is answered once is named by it. */
  id: z.string(),
  platform: z.string(),
  /** Why it is answered at all. `automatic` stays silent where it has nothing to say. */
  trigger: z.enum(['mention', 'direct', 'command', 'shortcut', 'follow_up', 'automatic']),
  /** A follow-up to a reply of ours: answered whether or not we still know what that was about. */
  isToUs: z.boolean().optional(),
  asker: z.object({ id: z.string(), locale: z.string().optional() }),
  /** Words without the mention; empty: a caption is wanted. */
  text: z.string(),
  /** The nearest place that has any: the message itself, what it quotes, what it replies to. */
  pictures: z.array(pictureSchema),
  /** Whose pictures they are: no automatic caption, and nobody else's question, once they opted out. */
  owner: z.string().optional(),
  /** Names of the conversations it may belong to, the nearest first. */
  conversations: z.array(z.string()).min(1),
  /** Where automatic captions can be switched on. */
  channel: z.string(),
  /** Message whose deletion takes the reply away with it. */
  source: z.string().optional(),
  /** Milliseconds since 1970 at which it came. */
  askedAt: z.number(),
  /** How the platform is to answer; its own business. */
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

/** One person across the workspaces or servers of a platform. */
export function personOf(platform: string, id: string): string {
  return `${platform}/${id}`
}

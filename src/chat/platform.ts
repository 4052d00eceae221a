// What answering a question needs of a chat platform: pictures, a typing indicator, posting and finding replies. Each
// platform's folder implements it in platform.ts.

import type { ChatReply } from './compose.ts'
import type { PictureRef, Question } from './question.ts'

/** The ids of a posted message, by which its platform finds and deletes it. */
export type Posted = Record<string, string>

/** Conversations named after these replies: a message that replies to one of them continues it. */
export function namesOf(posted: readonly Posted[]): string[] {
  return posted.flatMap(({ conversation }) => (conversation === undefined ? [] : [conversation]))
}

export interface Platform {
  readonly name: string
  /**
   * Returns the picture's bytes within `withinMs`.
   * @throws RequestError `picture_too_large`, `picture_gone`, `picture_forbidden`; UpstreamError when a retry may help
   */
  fetchPicture(picture: PictureRef, withinMs: number): Promise<Uint8Array>
  /**
   * The platform's own smaller rendering of a picture that the decoder refused; undefined where there is none.
   * @throws as `fetchPicture`
   */
  fetchSmaller?(picture: PictureRef, withinMs: number): Promise<Uint8Array | undefined>
  /** Language tag of the asker (`de-DE`), when the question does not have it. Never throws. */
  localeOf(question: Question): Promise<string | undefined>
  /** The nearest pictures above the question: in its thread, or in the message it replies to. Never throws. */
  parentPictures(question: Question): Promise<{ pictures: PictureRef[]; owner?: string }>
  /** Shows a typing indicator or a status; `ahead` is the number of requests before this one. Never throws. */
  startTyping(question: Question, ahead: number): Promise<void>
  /**
   * Removes it, where a reply does not remove it by itself.
   * @throws UpstreamError when it may still be visible
   */
  stopTyping(question: Question): Promise<void>
  /**
   * Posts the reply. When it throws, the reply may or may not be visible.
   * @throws UpstreamError when a retry may help; RequestError `cannot_reply` when it cannot
   */
  post(question: Question, reply: ChatReply): Promise<Posted[]>
  /** Returns the reply to this question that an earlier attempt posted, if there is one. @throws UpstreamError */
  findPosted(question: Question): Promise<Posted[] | undefined>
  /**
   * Whether another bot answers the message of a question that addresses nobody: it names one, or another installation of
   * Glimpse has replied. With `posted`, the reply to it, only an earlier reply counts. Never throws.
   */
  isTaken?(question: Question, posted?: readonly Posted[]): Promise<boolean>
  /** Deletes a reply. A reply that no longer exists is no error. @throws UpstreamError */
  deleteReply(posted: Posted): Promise<void>
}

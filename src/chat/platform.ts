// What answering a question needs of a chat platform: pictures, a typing indicator, posting and finding replies. Each
// platform's folder implements it in platform.ts.

import type { ChatReply } from './compose.ts'
import type { PictureRef, Question } from './question.ts'

/** Names a posted message for its platform, to find and to delete it. */
export type Posted = Record<string, string>

export interface Platform {
  readonly name: string
  /**
   * The picture's bytes, within so many milliseconds.
   * @throws RequestError `picture_too_large`, `picture_gone`, `picture_forbidden`; UpstreamError when trying again may help.
   */
  fetchPicture(picture: PictureRef, withinMs: number): Promise<Uint8Array>
  /** The asker's language, where the question does not carry it: `de-DE`. Never throws. */
  localeOf(question: Question): Promise<string | undefined>
  /**
   * Pictures of what the question stands under, for a thread we know nothing of: its first message, say. Never throws.
   */
  parentPictures(question: Question): Promise<{ pictures: PictureRef[]; owner?: string }>
  /** Shows that work goes on (a status, a typing sign); `ahead` is the number of asks before it. Never throws. */
  startTyping(question: Question, ahead: number): Promise<void>
  /** Takes that sign away where no reply does so by itself. Never throws. */
  stopTyping(question: Question): Promise<void>
  /**
   * Makes the reply visible, all of it or, when it throws, perhaps none.
   * @throws UpstreamError when trying again may help; RequestError `cannot_reply` when nothing will.
   */
  post(question: Question, reply: ChatReply): Promise<Posted[]>
  /** The reply to this question that an earlier try made visible, if there is one. @throws UpstreamError */
  findPosted(question: Question): Promise<Posted[] | undefined>
  /** Deletes a reply of ours; one that is gone already is no error. @throws UpstreamError */
  deleteReply(posted: Posted): Promise<void>
}

// The types at both ends of the path: what every task's request and result have, and those of captions and answers.

import type { GenerationSettings } from '../generation-settings.ts'
import type { Turn } from '../tokens/prompt.ts'

/** What a request of any task has. */
export interface BaseRequest {
  /** Its task, a name of tasks.ts. Absent: an answer if there is a question, else a caption. */
  task?: string
  /** Bytes of a JPEG, PNG, WebP, GIF, AVIF or TIFF file. */
  image?: Uint8Array
  /**
   * In place of `image`: the sha256 of a picture sent before. The request fails with RequestError `picture_forgotten`
   * when the caches no longer have it.
   */
  picture?: string
  /** Counted from the call of `answer`. Past it the request fails with BusyError `deadline`. */
  deadlineMs?: number
}

/** A request for a caption or an answer. */
export interface InferenceRequest extends BaseRequest {
  task?: 'caption' | 'answer'
  /** Absent or empty: the result is a caption. */
  question?: string
  /** Earlier questions about this picture and their answers, oldest first. */
  history?: readonly Turn[]
  /** Text of the prompt, used unchanged in place of question and history. */
  prompt?: string
  settings?: Partial<GenerationSettings>
}

/** Milliseconds in each stage; 0 for a stage that was skipped because its output is cached. */
export interface TimingsMs {
  queue: number
  image: number
  pixels: number
  vision: number
  queries: number
  tokens: number
  total: number
}

/** What a result of any task has. */
export interface BaseResult {
  /** The result in words, for people. */
  text: string
  timings_ms: TimingsMs
  model: string
  /** sha256 of the picture's bytes, in hexadecimal. */
  picture: string
}

export interface Sequence {
  text: string
  /** Generated ids only, including the end token when it was reached. */
  token_ids: number[]
  /** `stop`: an end token was generated; `length`: the maximum number of tokens was reached. */
  finish_reason: 'stop' | 'length'
}

/** A caption or an answer. `text` is the first sequence's, without prompt and special tokens. */
export interface InferenceResult extends BaseResult {
  token_ids: number[]
  finish_reason: Sequence['finish_reason']
  /** All `num_return_sequences` sequences; with beams, the best first. */
  sequences: Sequence[]
  /** The text that the language model read after the picture: "" for a plain caption. */
  prompt: string
  /** Vectors of the picture and token ids of the prompt that the language model read. */
  prompt_tokens: number
  /** The text says that the model does not know: it is no alt text, and no turn of a conversation. */
  unknown?: true
}

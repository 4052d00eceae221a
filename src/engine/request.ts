// The types at both ends of the path: one request about one picture, and its result. No behaviour.

import type { GenerationSettings } from '../generation-settings.ts'
import type { Turn } from '../tokens/prompt.ts'

export interface InferenceRequest {
  /** Bytes of a JPEG, PNG, WebP, GIF, AVIF or TIFF file. */
  image?: Uint8Array
  /**
   * In place of `image`: the sha256 of a picture sent before. The request fails with RequestError `picture_forgotten`
   * when the encoder cache no longer has it.
   */
  picture?: string
  /** Absent or empty: the result is a caption. */
  question?: string
  /** Earlier questions about this picture and their answers, oldest first. */
  history?: readonly Turn[]
  /** Text of the prompt, used unchanged in place of question and history. */
  prompt?: string
  settings?: Partial<GenerationSettings>
  /** Counted from the call of `answer`. Past it the request fails with BusyError `deadline`. */
  deadlineMs?: number
}

/** Milliseconds in each stage; 0 for a stage that was skipped because the picture is in the encoder cache. */
export interface TimingsMs {
  queue: number
  image: number
  pixels: number
  vision: number
  queries: number
  tokens: number
  total: number
}

export interface Sequence {
  text: string
  /** Generated ids only, including the end token when it was reached. */
  token_ids: number[]
}

export interface InferenceResult {
  /** The first sequence's text, without prompt and special tokens. */
  text: string
  token_ids: number[]
  /** All `num_return_sequences` sequences; with beams, the best first. */
  sequences: Sequence[]
  /** The text that the language model read after the picture: "" for a plain caption. */
  prompt: string
  timings_ms: TimingsMs
  model: string
  /** sha256 of the picture's bytes, in hexadecimal. */
  picture: string
}

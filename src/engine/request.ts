// What is asked and what is answered: the two ends of the path, in types. No behaviour here.

import type { GenerationSettings } from '../run/settings.ts'
import type { Turn } from '../tokens/prompt.ts'

export interface InferenceRequest {
  /** The picture's file as it came: JPEG, PNG, WebP, GIF, AVIF or TIFF bytes. */
  image?: Uint8Array
  /** In place of `image`: sha256 of one seen before. Ends in RequestError `picture_forgotten` once it is not remembered. */
  picture?: string
  /** Absent or empty: a caption is wanted. */
  question?: string
  /** Earlier exchanges about this picture, oldest first. */
  history?: readonly Turn[]
  /** Text put before the model's own words in place of question and history, as it stands. */
  prompt?: string
  settings?: Partial<GenerationSettings>
  /** From the moment the ask is taken; past it the run ends with BusyError `deadline`. */
  deadlineMs?: number
}

/** Milliseconds spent in each stage; 0 for a stage that was not needed (the picture was known already). */
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
  /** Generated ids only, the end token included when it was reached. */
  token_ids: number[]
}

export interface InferenceResult {
  /** The first sequence's text, without prompt and special tokens. */
  text: string
  token_ids: number[]
  /** All `num_return_sequences` of them; with beams the best first. */
  sequences: Sequence[]
  /** The text the language model was given after the picture: "" for a plain caption. */
  prompt: string
  timings_ms: TimingsMs
  model: string
  /** sha256 of the picture's bytes, hex. */
  picture: string
}

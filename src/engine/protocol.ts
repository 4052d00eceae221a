// What the engine and the model's process say to each other.

import { z } from 'zod'
import type { SerializedError } from '../errors.ts'
import type { Precision } from '../quantize/recipes.ts'
import type { ProviderChoice } from '../run/provider.ts'
import type { Provider } from '../run/session.ts'
import type { InferenceRequest, InferenceResult } from './request.ts'

/** What a model says of itself: from words.json of its checkpoint, where there is one. */
export const aboutSchema = z.looseObject({
  /** One sentence: what the model can see. */
  sees: z.string(),
  nouns: z.array(z.string()).optional(),
  examples: z.array(z.string()).optional(),
})

export interface ModelCard {
  name: string
  /** Absent where the model runs elsewhere. */
  precision?: Precision
  /** What it runs on. */
  provider?: Provider
  /** Why it runs on the CPU though it was to run on something else. */
  fallback?: string
  about?: z.infer<typeof aboutSchema>
}

/** What the process is started with. */
export interface ModelProcessOptions {
  artifact: string
  threads?: number
  /** What it runs on; the CPU unless told. See run/provider.ts. */
  provider?: ProviderChoice
  /** See run/prepacked.ts; without it graphs are opened as they were built. */
  prepack?: { folder: string; fromBytes: number }
  /** Where pictures are remembered beyond the process, and for how long; see encoder-cache.ts. */
  encoderCache?: { location: string; ttlMs: number }
  /** Waiting asks that are answered in one go at most; 1 unless told: one by one. */
  maxBatch?: number
  /** Answers a made-up ask before it is ready, so that the first real one finds everything in place. */
  warmUp?: boolean
}

/** Milliseconds of what happened before it was ready. */
export type LoadMs = Partial<Record<'lay_out' | 'open' | 'warm_up', number>>

/** An ask as it goes to the model; `stream` when its pieces of text are wanted. */
export interface BatchEntry {
  id: number
  request: InferenceRequest
  stream: boolean
}

export type ToChild =
  | { kind: 'open'; start: ModelProcessOptions }
  | { kind: 'answer'; requests: BatchEntry[] }
  | { kind: 'cancel'; id: number; error: SerializedError }
  | { kind: 'close' }

export type FromChild =
  | { kind: 'preparing' }
  | { kind: 'not_laid_out'; error: SerializedError }
  | { kind: 'ready'; model: ModelCard; loadMs: LoadMs }
  | { kind: 'failed'; error: SerializedError }
  | { kind: 'token'; id: number; text: string }
  | { kind: 'reply'; id: number; reply: InferenceResult }
  | { kind: 'error'; id: number; error: SerializedError }

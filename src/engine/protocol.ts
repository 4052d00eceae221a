// The messages between the engine (server process) and the model process. They cross Node's IPC channel as structured
// clones, so they hold plain data and typed arrays only.

import { z } from 'zod'
import type { SerializedError } from '../errors.ts'
import type { Precision } from '../quantize/recipes.ts'
import type { ProviderChoice } from '../run/provider.ts'
import type { Provider } from '../run/session.ts'
import type { BaseRequest, BaseResult } from './request.ts'

/** What a model knows, from `words.json` of its checkpoint, where there is one. */
export const aboutSchema = z.looseObject({
  /** One sentence: what the model can see. */
  sees: z.string(),
  /** The same in other languages, by language. */
  sees_in: z.record(z.string(), z.string()).optional(),
  /** The hub's name of a model that knows photographs, if this one does not. */
  photographs: z.string().optional(),
  nouns: z.array(z.string()).optional(),
  examples: z.array(z.string()).optional(),
  /** Whether ranking the best hits of a search again by matching finds more; measured on pictures it was not trained on. */
  rerank: z.boolean().optional(),
  /** From which similarity on two pictures are duplicates (docs/search.md says how it is measured). */
  duplicates: z.number().optional(),
})

export interface ModelCard {
  name: string
  /** Absent for a remote engine. */
  precision?: Precision
  /** The execution provider in use. */
  provider?: Provider
  /** Why it runs on the CPU although another provider was configured. */
  fallback?: string
  /** Threads of one operator. */
  threads?: number
  /** What the processor can do, and the onnxruntime settings that are chosen for it. */
  processor?: { arch: string; dot_products: string | null; settings: Record<string, string> }
  about?: z.infer<typeof aboutSchema>
  /** Whether the model was trained to read any request as it is written, such as InstructBLIP. Absent: it reads questions. */
  instructions?: true
  /** Vectors that pictures and texts are compared by; absent if the model does not match. */
  vectors?: {
    /** Equal only for vectors that may be compared with each other. */
    key: string
    /** Q, vectors of a picture, and E, the length of each. */
    count: number
    width: number
  }
}

/** How the model process opens its model. */
export interface ModelProcessOptions {
  artifact: string
  threads?: number
  /** Default: cpu. See run/provider.ts. */
  provider?: ProviderChoice
  /** See run/prepacked.ts. Default: graphs are opened as they were built. */
  prepack?: { folder: string; fromBytes: number }
  /** Store of image embeddings that outlives the process; see stage-cache.ts. Default: memory only. */
  stageStore?: { location: string; ttlMs: number }
  /** Requests in one batch at most. Default: 1. */
  maxBatch?: number
  /** Answers one made-up request before it reports `ready`, so that the first real one is not slower. */
  warmUp?: boolean
}

/** Milliseconds that each step of the start took. */
export type LoadMs = Partial<Record<'lay_out' | 'open' | 'warm_up', number>>

export interface BatchEntry {
  id: number
  request: BaseRequest
  /** Whether to send `token` messages. */
  stream: boolean
}

export type ToChild =
  | { kind: 'open'; start: ModelProcessOptions }
  | { kind: 'answer'; requests: BatchEntry[] }
  | { kind: 'cancel'; id: number; error: SerializedError }
  /** Removes what is cached of the picture with this sha256. */
  | { kind: 'forget'; picture: string }
  | { kind: 'close' }

export type FromChild =
  /** Weights are being prepacked, which takes a while. */
  | { kind: 'preparing' }
  /** Prepacking failed; the model opens without it. */
  | { kind: 'not_laid_out'; error: SerializedError }
  | { kind: 'ready'; model: ModelCard; loadMs: LoadMs }
  | { kind: 'failed'; error: SerializedError }
  | { kind: 'token'; id: number; text: string }
  | { kind: 'reply'; id: number; reply: BaseResult }
  | { kind: 'error'; id: number; error: SerializedError }

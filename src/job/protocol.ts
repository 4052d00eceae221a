// What the process and its model thread say to each other.

import { z } from 'zod'
import type { WireError } from '../errors.ts'
import type { Precision } from '../quantize/recipes.ts'
import type { Ask, Reply } from './ask.ts'

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
  about?: z.infer<typeof aboutSchema>
}

/** What the thread is started with. */
export interface Start {
  artifact: string
  threads?: number
  /** See run/prepacked.ts; without it graphs are opened as they were built. */
  prepack?: { folder: string; fromBytes: number }
  /** Where pictures are remembered beyond the process, and for how long; see memory.ts. */
  memory?: { place: string; ttlMs: number }
}

export type ToThread =
  | { kind: 'answer'; id: number; ask: Ask; stream: boolean }
  | { kind: 'cancel'; id: number; error: WireError }
  | { kind: 'close' }

export type FromThread =
  | { kind: 'preparing' }
  | { kind: 'ready'; model: ModelCard }
  | { kind: 'failed'; error: WireError }
  | { kind: 'token'; id: number; text: string }
  | { kind: 'reply'; id: number; reply: Reply }
  | { kind: 'error'; id: number; error: WireError }

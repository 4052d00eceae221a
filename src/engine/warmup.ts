// A made-up ask through the whole path: what is made on first use, in libraries and on devices, is made before it counts.

import type { Model } from '../run/model.ts'
import { inMemoryEncoderCache } from './encoder-cache.ts'
import { runOne } from './pipeline.ts'

/** The smallest PNG: 1 x 1, made by `convert -size 1x1 xc:red`. */
const PICTURE = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
  'base64',
)
/** The first is read with the prompt; the second is the first one-token step, the third the first with full slots. */
const TOKENS = 3

/** Returns how long it took, in milliseconds. Throws what a real ask would. */
export async function warmUp(model: Model): Promise<number> {
  const began = performance.now()
  const settings = { max_new_tokens: TOKENS, min_new_tokens: TOKENS }
  await runOne(
    model,
    inMemoryEncoderCache(),
    { image: PICTURE, question: 'what is it?', settings },
    { check() {} },
  )
  return performance.now() - began
}

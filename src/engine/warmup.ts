// One made-up request through the whole path: libraries and devices allocate buffers and compile kernels at first use.

import type { Model } from '../run/model.ts'
import { inMemoryEncoderCache } from './encoder-cache.ts'
import { runOne } from './pipeline.ts'

/** The smallest PNG: 1 x 1, made by `convert -size 1x1 xc:red`. */
const PICTURE = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
  'base64',
)
/** Token 1 comes from the prefill, 2 from the first decode step, 3 from the first that reads a decoded token's cache. */
const TOKENS = 3

/** Returns its duration in milliseconds. @throws what a real request would */
export async function warmUp(model: Model): Promise<number> {
  const began = performance.now()
  const settings = { max_new_tokens: TOKENS, min_new_tokens: TOKENS }
  const request = { image: PICTURE, question: 'what is it?', settings }
  await runOne(model, inMemoryEncoderCache(), request, { check() {} })
  return performance.now() - began
}

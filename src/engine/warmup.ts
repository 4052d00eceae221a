// One made-up request through the whole path: libraries and devices allocate buffers and compile kernels at first use.

import type { Model } from '../run/model.ts'
import { runBatch } from './pipeline.ts'
import { SAMPLE_PICTURE } from './sample-picture.ts'
import { stageCaches } from './stage-cache.ts'
import { isTaskName, taskNamed } from './tasks.ts'

/** Token 1 comes from the prefill, 2 from the first decode step, 3 from the first that reads a decoded token's cache. */
const TOKENS = 3

/** Returns its duration in milliseconds. @throws what a real request would */
export async function warmUp(model: Model): Promise<number> {
  const began = performance.now()
  const settings = { max_new_tokens: TOKENS, min_new_tokens: TOKENS }
  const last = model.manifest.tasks.filter(isTaskName).at(-1)!
  const request = { ...taskNamed(last).sample, task: last, image: SAMPLE_PICTURE, settings }
  let failure: unknown
  await runBatch(model, stageCaches(model.manifest), [{ request, hooks: { check() {} } }], (_, outcome) => {
    if ('error' in outcome) failure = outcome.error
  })
  if (failure !== undefined) throw failure
  return performance.now() - began
}

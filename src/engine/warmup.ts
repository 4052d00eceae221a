// One made-up request for each path through the graphs: libraries and devices allocate buffers and compile kernels at first use.

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
  // Tasks with the same steps take the same path; the last of them has the longest request.
  const lastOf = new Map(model.manifest.tasks.filter(isTaskName).map((name) => [taskNamed(name).run, name]))
  const items = [...lastOf.values()].map((task) => ({
    request: { ...taskNamed(task).sample, task, image: SAMPLE_PICTURE, settings },
    hooks: { check() {} },
  }))
  let failure: unknown
  await runBatch(model, stageCaches(model.manifest), items, (_, outcome) => {
    if ('error' in outcome) failure = outcome.error
  })
  if (failure !== undefined) throw failure
  return performance.now() - began
}

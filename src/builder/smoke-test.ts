// Artifact -> generated text. A known failure of quantized BLIP-2 is that it generates none.

import { isMainThread } from 'node:worker_threads'
import { runBatch } from '../engine/pipeline.ts'
import { SAMPLE_PICTURE } from '../engine/sample-picture.ts'
import { stageCaches } from '../engine/stage-cache.ts'
import { isTaskName, taskNamed } from '../engine/tasks.ts'
import { isGlimpseError } from '../errors.ts'
import { openModel } from '../run/model.ts'

const TOKENS = 8

/** An open graph is in memory twice: mapped from its file, and prepacked for the processor. Running it needs some more. */
const MEMORY_PER_BYTE = 2
const RUNNING_BYTES = 300_000_000
/** A build stays below 1.5 GB. A smoke test that needs more runs only with --trial. */
const BUDGET_BYTES = 1_200_000_000

/**
 * Whether generateSamples stays within the budget of a build and the free memory. One graph is open at a time, so the
 * largest file counts. In a worker thread no graph can run (run/session.ts).
 */
export function fitsMemoryBudget(
  files: readonly { sizeBytes: number }[],
  freeBytes = process.availableMemory(),
): boolean {
  const largest = Math.max(0, ...files.map(({ sizeBytes }) => sizeBytes))
  return isMainThread && MEMORY_PER_BYTE * largest + RUNNING_BYTES <= Math.min(BUDGET_BYTES, freeBytes)
}

/**
 * The texts that the artifact generates for sample requests about one picture. All of its tasks are run; one whose request
 * does not fit the model's positions is skipped.
 */
export async function generateSamples(folder: string): Promise<string[]> {
  const model = await openModel(folder, { oneAtATime: true })
  const texts: string[] = []
  const failures: unknown[] = []
  try {
    const items = model.manifest.tasks.filter(isTaskName).map((task) => ({
      request: {
        ...taskNamed(task).sample,
        task,
        image: SAMPLE_PICTURE,
        settings: { max_new_tokens: TOKENS },
      },
      hooks: { check() {} },
    }))
    await runBatch(model, stageCaches(model.manifest), items, (i, outcome) => {
      if ('reply' in outcome) {
        if (taskNamed(items[i]!.request.task).generates) texts.push(outcome.reply.text)
      } else if (!isTooLong(outcome.error)) failures.push(outcome.error)
    })
  } finally {
    await model.close()
  }
  if (failures.length > 0) throw failures[0]
  return texts
}

function isTooLong(error: unknown): boolean {
  return isGlimpseError(error) && error.code === 'question_too_long'
}

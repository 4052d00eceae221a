// The whole path: image -> pixels -> vision -> queries -> tokens -> reply, for a batch of requests.
//
// encode.ts computes what the pictures need; the task of each request does the rest (tasks.ts). Requests whose tasks have
// the same steps run together. Each request gets the result that it would get alone, and fails alone.

import { RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import type { Model } from '../run/model.ts'
import { type EncodableRequest, encodePictures } from './encode.ts'
import type { BaseRequest, BaseResult, InferenceRequest, InferenceResult } from './request.ts'
import type { StageCaches } from './stage-cache.ts'
import type { AnyTask } from './tasks/task.ts'
import { taskNamed, taskOf } from './tasks.ts'
import { stopwatch } from './timings.ts'

interface RequestHooks {
  /** Called between stages and tokens. Throws when the request was cancelled. */
  check: () => void
  /** Receives each new piece of text. Called only for one sequence without beams. */
  onToken?: (text: string) => void
}

export type RequestResult = { reply: BaseResult } | { error: unknown }

/** @throws RequestError about picture, question or settings; what `hooks.check` throws */
export async function runOne(
  model: Model,
  caches: StageCaches,
  request: InferenceRequest,
  hooks: RequestHooks,
): Promise<InferenceResult> {
  const outcomes: RequestResult[] = []
  await runBatch(model, caches, [{ request, hooks }], (_, outcome) => outcomes.push(outcome))
  const [outcome] = outcomes
  if (outcome && 'reply' in outcome) return outcome.reply as InferenceResult
  throw outcome?.error
}

/** Calls `onResult` once for each item, as soon as its result is known. */
export async function runBatch(
  model: Model,
  caches: StageCaches,
  items: readonly { request: BaseRequest; hooks: RequestHooks }[],
  onResult: (index: number, outcome: RequestResult) => void,
): Promise<void> {
  const requests: PipelineRequest[] = []
  for (const [index, { request, hooks }] of items.entries()) {
    try {
      requests.push(prepare(model, caches, request, hooks, (outcome) => onResult(index, outcome)))
    } catch (error) {
      onResult(index, { error })
    }
  }
  await encodePictures(model, caches, requests, (ready) => runTasks(model, ready as PipelineRequest[]))
}

interface PipelineRequest extends EncodableRequest {
  task: AnyTask
}

function prepare(
  model: Model,
  caches: StageCaches,
  request: BaseRequest,
  hooks: RequestHooks,
  onResult: (outcome: RequestResult) => void,
): PipelineRequest {
  const clock = stopwatch()
  const name = taskOf(request)
  const { manifest } = model
  if (!manifest.tasks.includes(name)) {
    const message = `Expected one of the tasks of ${manifest.name} (${manifest.tasks.join(', ')}) but got ${name}.`
    throw new RequestError('no_task', message)
  }
  const task = taskNamed(name)
  const prepared = task.prepare(model, request)
  const { image } = request
  const picture = image ? sha256Hex(image) : (request.picture ?? '')
  let isFinished = false
  const finish: PipelineRequest['finish'] = (outcome) => {
    if (isFinished) return
    isFinished = true
    if ('error' in outcome) return onResult(outcome)
    const common = { timings_ms: clock.read(), model: manifest.name, picture }
    onResult({ reply: { ...(outcome.own as BaseResult), ...common } })
  }
  return {
    task,
    prepared,
    picture,
    image,
    reads: task.reads(prepared, model),
    promptCache: caches.prompts?.(picture),
    queryText: manifest.queries.reads_text ? task.queryText?.(prepared) : undefined,
    clock,
    onToken: hooks.onToken,
    finish,
    isActive() {
      if (isFinished) return false
      try {
        hooks.check()
        return true
      } catch (error) {
        finish({ error })
        return false
      }
    },
  }
}

/** Runs the tasks of requests whose outputs are set. */
async function runTasks(model: Model, requests: readonly PipelineRequest[]): Promise<void> {
  const active = requests.filter((one) => one.isActive())
  for (const run of new Set(active.map(({ task }) => task.run))) {
    const group = active.filter(({ task }) => task.run === run)
    try {
      await run(model, group)
    } catch (error) {
      for (const one of group) one.finish({ error })
    }
  }
}

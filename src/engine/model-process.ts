// Entry point of the model process, a child of the server process: `open` message -> `ready`, then `answer` messages ->
// `token`, `reply` and `error` messages (protocol.ts).
//
// A graph run blocks its process and native code can crash it, so both happen here and not in the server process.
// Messages are received between graph runs; that is when a cancelled request ends.

// First: it reports a library that does not load.
import './load-failure.ts'

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { artifactKey, type Manifest } from '../artifact/contract.ts'
import { ArtifactError, deserializeError, type SerializedError, serializeError } from '../errors.ts'
import { log } from '../observe/log.ts'
import { prepackSettings, thisProcessor } from '../run/cpu.ts'
import { type Model, openModel } from '../run/model.ts'
import { openStore } from '../store/open.ts'
import { type RequestResult, runBatch } from './pipeline.ts'
import type { ModelProcessOptions, ToChild } from './protocol.ts'
import { aboutSchema, type BatchEntry, type FromChild, type LoadMs, type ModelCard } from './protocol.ts'
import { type StageCaches, stageCaches } from './stage-cache.ts'
import { isTaskName, TASK_NAMES } from './tasks.ts'
import { warmUp } from './warmup.ts'

process.removeAllListeners('uncaughtException')

const send = (message: FromChild) => new Promise<void>((resolve) => process.send!(message, () => resolve()))

/** Unfinished requests by id. The value is the cancellation error once the caller cancelled or timed out. */
const unfinished = new Map<number, SerializedError | undefined>()
let lastBatch: Promise<void> = Promise.resolve()
let opened: { model: Model; caches: StageCaches } | undefined

// Ctrl-C and some supervisors signal the whole process group. The parent decides when this process ends.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
process.on('disconnect', () => process.exit())
// `disconnect` is not received during a graph run, so a thread watches the parent as well.
new Worker(new URL('./parent-watchdog.js', import.meta.url), { workerData: process.ppid }).unref()

process.on('message', (message: ToChild) => void onMessage(message))

async function onMessage(message: ToChild): Promise<void> {
  switch (message.kind) {
    case 'open':
      return await open(message.start).catch((error) =>
        send({ kind: 'failed', error: serializeError(error) }),
      )
    case 'answer':
      for (const { id } of message.requests) unfinished.set(id, undefined)
      // A batch can arrive while the last one, whose requests were all cancelled, still runs.
      lastBatch = lastBatch.then(() => run(message.requests))
      return
    case 'cancel':
      if (!unfinished.has(message.id)) return
      unfinished.set(message.id, message.error)
      // Sent at once: by this message the engine knows that the process does not hang.
      return await send({ kind: 'error', id: message.id, error: message.error })
    case 'forget':
      return await opened?.caches
        .forget(message.picture)
        .catch((error: unknown) => log.warn('picture_not_forgotten', error))
    case 'close':
      // A session must not be released while it runs.
      await lastBatch
      await opened?.model.close()
      process.exit()
  }
}

async function open({ artifact, prepack, stageStore, ...start }: ModelProcessOptions): Promise<void> {
  const loadMs: LoadMs = {}
  const began = performance.now()
  const model = await openModel(artifact, {
    threads: start.threads,
    provider: start.provider,
    prepack: prepack && {
      ...prepack,
      onMaking: () => void send({ kind: 'preparing' }),
      onMade: (ms) => {
        loadMs.lay_out = ms
      },
      onFailed: (why) => void send({ kind: 'not_laid_out', error: serializeError(why) }),
    },
  })
  loadMs.open = performance.now() - began - (loadMs.lay_out ?? 0)
  checkTasks(model.manifest)
  if (start.warmUp) loadMs.warm_up = await warmUp(model)
  const stored = stageStore && {
    store: await openStore(stageStore.location),
    ttlMs: stageStore.ttlMs,
  }
  opened = { model, caches: stageCaches(model.manifest, stored) }
  await send({ kind: 'ready', model: cardOf(model, start.threads), loadMs })
}

async function run(batch: readonly BatchEntry[]): Promise<void> {
  const items = batch.map(({ id, request, stream }) => ({
    request,
    hooks: {
      check() {
        const cancelError = unfinished.get(id)
        if (cancelError) throw deserializeError(cancelError)
      },
      onToken: stream ? (text: string) => void send({ kind: 'token', id, text }) : undefined,
    },
  }))
  const onResult = (index: number, outcome: RequestResult) => {
    const { id } = batch[index]!
    const isAnswered = !unfinished.has(id) || unfinished.get(id) !== undefined
    unfinished.delete(id)
    if (isAnswered) return
    void send(
      'reply' in outcome
        ? { kind: 'reply', id, reply: outcome.reply }
        : { kind: 'error', id, error: serializeError(outcome.error) },
    )
  }
  await runBatch(opened!.model, opened!.caches, items, onResult).catch((error: unknown) => {
    for (const index of batch.keys()) onResult(index, { error })
  })
}

/** @throws ArtifactError `other_format` when this version has none of the model's tasks */
function checkTasks({ name, tasks }: Manifest): void {
  if (tasks.some(isTaskName)) return
  const message = `Expected ${name} to have one of the tasks ${TASK_NAMES.join(', ')} but it has ${tasks.join(', ')}. Use a newer version of Glimpse.`
  throw new ArtifactError('other_format', message)
}

function cardOf({ manifest, provider, fallback }: Model, threads = availableParallelism()): ModelCard {
  const processor = thisProcessor()
  const { matching } = manifest
  return {
    name: manifest.name,
    precision: manifest.precision,
    provider,
    fallback,
    threads,
    processor: {
      arch: processor.arch,
      dot_products: processor.dotProducts ?? null,
      settings: prepackSettings(processor),
    },
    about: aboutSchema.safeParse(manifest.about).data,
    // Others have a frame of words around a question.
    ...(manifest.prompt.question === '{question}' && { instructions: true }),
    vectors: matching && {
      key: artifactKey(manifest),
      count: matching.count,
      width: matching.embedding_width,
    },
  }
}

// The model's process: opens an artifact, then answers what it is asked, several asks at once where they come so. Entry
// point of a child process (see process-handle.ts).
//
// A graph's run blocks the process it is in; here it blocks nobody, and what crashes in native code takes nobody along.
// Between two runs messages are heard, which is when a cancelled ask ends.

import { Worker } from 'node:worker_threads'
import { deserializeError, type SerializedError, serializeError } from '../errors.ts'
import { type Model, openModel } from '../run/model.ts'
import { openStore } from '../store/open.ts'
import { type EncoderCache, inMemoryEncoderCache, storedEncoderCache } from './encoder-cache.ts'
import { type RequestResult, runBatch } from './pipeline.ts'
import type { ModelProcessOptions, ToChild } from './protocol.ts'
import { aboutSchema, type BatchEntry, type FromChild, type LoadMs, type ModelCard } from './protocol.ts'
import { warmUp } from './warmup.ts'

/** Resolves when it is on its way. */
const send = (message: FromChild) => new Promise<void>((resolve) => process.send!(message, () => resolve()))

/** Asks that are not answered yet, and of those whose askers have left, what these were told. */
const unfinished = new Map<number, SerializedError | undefined>()
let underWay: Promise<void> = Promise.resolve()
let opened: { model: Model; cache: EncoderCache } | undefined

// Ctrl-C and some supervisors signal the whole group; whoever started this process decides when it ends.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
process.on('disconnect', () => process.exit())
// In the middle of a run nothing is heard: another thread sees to it that nobody is outlived.
new Worker(new URL('./parent-watchdog.js', import.meta.url), { workerData: process.ppid }).unref()

process.on('message', (message: ToChild) => void onMessage(message))

async function onMessage(message: ToChild): Promise<void> {
  switch (message.kind) {
    case 'open':
      await open(message.start).catch((error: unknown) =>
        send({ kind: 'failed', error: serializeError(error) }),
      )
      return
    case 'answer':
      for (const { id } of message.requests) unfinished.set(id, undefined)
      // What nobody waits for any more still ends first.
      underWay = underWay.then(() => run(message.requests))
      return
    case 'cancel':
      // One that comes after its ask has ended is of no use to anybody.
      if (!unfinished.has(message.id)) return
      unfinished.set(message.id, message.error)
      // At once: that this is heard is how the engine knows that nothing hangs.
      await send({ kind: 'error', id: message.id, error: message.error })
      return
    case 'close':
      // A session must not be released while it runs.
      await underWay
      await opened?.model.close()
      process.exit()
  }
}

async function open({
  artifact,
  threads,
  provider,
  prepack,
  encoderCache,
  warmUp: isWarm,
}: ModelProcessOptions): Promise<void> {
  const loadMs: LoadMs = {}
  const began = performance.now()
  const model = await openModel(artifact, {
    threads,
    provider,
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
  if (isWarm) loadMs.warm_up = await warmUp(model)
  const cache = encoderCache
    ? storedEncoderCache(await openStore(encoderCache.location), model.manifest, encoderCache.ttlMs)
    : inMemoryEncoderCache()
  opened = { model, cache: cache }
  await send({ kind: 'ready', model: cardOf(model), loadMs })
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
    const isFinished = !unfinished.has(id) || unfinished.get(id) !== undefined
    unfinished.delete(id)
    if (isFinished) return
    void send(
      'reply' in outcome
        ? { kind: 'reply', id, reply: outcome.reply }
        : { kind: 'error', id, error: serializeError(outcome.error) },
    )
  }
  await runBatch(opened!.model, opened!.cache, items, onResult).catch((error: unknown) => {
    for (const index of batch.keys()) onResult(index, { error })
  })
}

function cardOf({ manifest, provider, fallback }: Model): ModelCard {
  return {
    name: manifest.name,
    precision: manifest.precision,
    provider,
    fallback,
    about: aboutSchema.safeParse(manifest.about).data,
  }
}

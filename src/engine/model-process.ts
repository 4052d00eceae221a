// The model's process: opens an artifact, then answers what it is asked, several asks at once where they come so. Entry
// point of a child process (see process-handle.ts).
//
// A graph's run blocks the process it is in; here it blocks nobody, and what crashes in native code takes nobody along.
// Between two runs messages are heard, which is when a cancelled ask ends.

import { Worker } from 'node:worker_threads'
import { deserializeError, type SerializedError, serializeError } from '../errors.ts'
import { type Model, openModel } from '../run/model.ts'
import { openStore } from '../store/open.ts'
import { longMemory, type Memory, shortMemory } from './encoder-cache.ts'
import { answerAll, type Outcome } from './pipeline.ts'
import type { Start, ToChild } from './protocol.ts'
import { aboutSchema, type FromChild, type LoadMs, type ModelCard, type Sent } from './protocol.ts'
import { warmUp } from './warmup.ts'

/** Resolves when it is on its way. */
const say = (message: FromChild) => new Promise<void>((resolve) => process.send!(message, () => resolve()))

/** Asks that are not answered yet, and of those whose askers have left, what these were told. */
const current = new Map<number, SerializedError | undefined>()
let underWay: Promise<void> = Promise.resolve()
let opened: { model: Model; memory: Memory } | undefined

// Ctrl-C and some supervisors signal the whole group; whoever started this process decides when it ends.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
process.on('disconnect', () => process.exit())
// In the middle of a run nothing is heard: another thread sees to it that nobody is outlived.
new Worker(new URL('./parent-watchdog.js', import.meta.url), { workerData: process.ppid }).unref()

process.on('message', (message: ToChild) => void hear(message))

async function hear(message: ToChild): Promise<void> {
  switch (message.kind) {
    case 'open':
      await open(message.start).catch((error: unknown) =>
        say({ kind: 'failed', error: serializeError(error) }),
      )
      return
    case 'answer':
      for (const { id } of message.asks) current.set(id, undefined)
      // What nobody waits for any more still ends first.
      underWay = underWay.then(() => run(message.asks))
      return
    case 'cancel':
      // One that comes after its ask has ended is of no use to anybody.
      if (!current.has(message.id)) return
      current.set(message.id, message.error)
      // At once: that this is heard is how the engine knows that nothing hangs.
      await say({ kind: 'error', id: message.id, error: message.error })
      return
    case 'close':
      // A session must not be released while it runs.
      await underWay
      await opened?.model.close()
      process.exit()
  }
}

async function open({ artifact, threads, provider, prepack, memory, warmUp: isWarm }: Start): Promise<void> {
  const loadMs: LoadMs = {}
  const began = performance.now()
  const model = await openModel(artifact, {
    threads,
    provider,
    prepack: prepack && {
      ...prepack,
      onMaking: () => void say({ kind: 'preparing' }),
      onMade: (ms) => {
        loadMs.lay_out = ms
      },
      onFailed: (why) => void say({ kind: 'not_laid_out', error: serializeError(why) }),
    },
  })
  loadMs.open = performance.now() - began - (loadMs.lay_out ?? 0)
  if (isWarm) loadMs.warm_up = await warmUp(model)
  const known = memory
    ? longMemory(await openStore(memory.place), model.manifest, memory.ttlMs)
    : shortMemory()
  opened = { model, memory: known }
  await say({ kind: 'ready', model: cardOf(model), loadMs })
}

async function run(asks: readonly Sent[]): Promise<void> {
  const asked = asks.map(({ id, ask, stream }) => ({
    ask,
    watch: {
      check() {
        const told = current.get(id)
        if (told) throw deserializeError(told)
      },
      onToken: stream ? (text: string) => void say({ kind: 'token', id, text }) : undefined,
    },
  }))
  const settle = (index: number, outcome: Outcome) => {
    const { id } = asks[index]!
    const isSettled = !current.has(id) || current.get(id) !== undefined
    current.delete(id)
    if (isSettled) return
    void say(
      'reply' in outcome
        ? { kind: 'reply', id, reply: outcome.reply }
        : { kind: 'error', id, error: serializeError(outcome.error) },
    )
  }
  await answerAll(opened!.model, opened!.memory, asked, settle).catch((error: unknown) => {
    for (const index of asks.keys()) settle(index, { error })
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

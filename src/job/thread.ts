// The model's thread: opens an artifact, then answers one ask at a time. Entry point of a worker (see engine.ts).
//
// A graph's run blocks the thread it is in; here it blocks nobody. Between two runs the thread hears messages, which
// is when a cancelled run ends.

import { parentPort, workerData } from 'node:worker_threads'
import { fromWire, toWire, type WireError } from '../errors.ts'
import { type Model, openModel } from '../run/model.ts'
import { openStore } from '../store/open.ts'
import { answer } from './answer.ts'
import type { Ask } from './ask.ts'
import { longMemory, type Memory, shortMemory } from './memory.ts'
import { aboutSchema, type FromThread, type ModelCard, type Start, type ToThread } from './protocol.ts'

const { artifact, threads, prepack, memory } = workerData as Start
const port = parentPort!
const say = (message: FromThread) => port.postMessage(message)

let current: { id: number; cancelled?: WireError } | undefined
let underWay: Promise<void> = Promise.resolve()

openModel(artifact, {
  threads,
  prepack: prepack && { ...prepack, onMaking: () => say({ kind: 'preparing' }) },
})
  .then(async (model) => {
    const known = await openMemory(model)
    port.on('message', (message: ToThread) => hear(model, known, message))
    say({ kind: 'ready', model: cardOf(model) })
  })
  .catch((error: unknown) => say({ kind: 'failed', error: toWire(error) }))

async function openMemory({ manifest }: Model): Promise<Memory> {
  if (!memory) return shortMemory()
  return longMemory(await openStore(memory.place), manifest, memory.ttlMs)
}

async function hear(model: Model, known: Memory, message: ToThread): Promise<void> {
  switch (message.kind) {
    case 'answer':
      underWay = run(model, known, message.id, message.ask, message.stream)
      return
    case 'cancel':
      // One that comes after its run has ended is of no use to anybody.
      if (current?.id === message.id) current.cancelled = message.error
      return
    case 'close':
      // A session must not be released while it runs.
      await underWay
      await model.close()
      port.close()
  }
}

async function run(model: Model, known: Memory, id: number, ask: Ask, stream: boolean): Promise<void> {
  const mine: typeof current = { id }
  current = mine
  const check = () => {
    if (mine.cancelled) throw fromWire(mine.cancelled)
  }
  const onToken = stream ? (text: string) => say({ kind: 'token', id, text }) : undefined
  try {
    say({ kind: 'reply', id, reply: await answer(model, known, ask, { check, onToken }) })
  } catch (error) {
    say({ kind: 'error', id, error: toWire(error) })
  }
}

function cardOf({ manifest }: Model): ModelCard {
  return {
    name: manifest.name,
    precision: manifest.precision,
    about: aboutSchema.safeParse(manifest.about).data,
  }
}

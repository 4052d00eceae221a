// A model thread without a model: answers with what it was asked, and does what some questions tell it to.
import { existsSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'

// While the file that `artifact` names is there, no new thread gets as far as being ready.
if (existsSync(workerData.artifact)) process.exit(4)

const cancelled = new Map()
parentPort.on('message', async (message) => {
  if (message.kind === 'close') return parentPort.close()
  if (message.kind === 'cancel') return cancelled.set(message.id, message.error)
  const { id, ask } = message
  if (ask.question === 'crash') throw new Error('out of luck')
  if (ask.question === 'exit') process.exit(3)
  // As in one long native call: nothing is heard meanwhile.
  if (ask.question === 'busy') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)
  if (ask.question === 'pause') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
  if (ask.question === 'wait') {
    for (let i = 0; i < 200 && !cancelled.has(id); i++) {
      parentPort.postMessage({ kind: 'token', id, text: `${i} ` })
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  if (cancelled.has(id)) return parentPort.postMessage({ kind: 'error', id, error: cancelled.get(id) })
  const timings_ms = { queue: 0, image: 0, pixels: 0, vision: 0, queries: 0, tokens: 0, total: 0 }
  const reply = {
    text: ask.question,
    token_ids: [],
    sequences: [],
    prompt: '',
    timings_ms,
    model: 'fake',
    picture: '',
  }
  parentPort.postMessage({ kind: 'reply', id, reply })
})
parentPort.postMessage({ kind: 'ready', model: { name: 'fake', precision: 'fp32' } })

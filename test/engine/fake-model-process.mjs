// A model process without a model: answers with the question itself; `exit`, `abort`, `short` and `wait` act as named.
import { existsSync } from 'node:fs'

const cancelled = new Map()
const send = (message) => process.send(message)
process.on('disconnect', () => process.exit())
process.on('message', async (message) => {
  if (message.kind === 'open') {
    const { artifact } = message.start
    // While the file `artifact` exists, a new process exits, or loads for ever, before it is ready.
    if (existsSync(artifact)) return artifact.endsWith('endless') ? undefined : process.exit(4)
    return send({ kind: 'ready', model: { name: 'fake', precision: 'fp32' }, loadMs: { open: 2000 } })
  }
  if (message.kind === 'close') return process.exit()
  if (message.kind === 'cancel') return cancelled.set(message.id, message.error)
  const { requests } = message
  for (const one of requests) await answer(one, requests.length)
})

async function answer({ id, request }, batchSize) {
  if (request.question === 'exit') process.exit(3)
  // As native code that fails an assertion. process.abort() would print a stack as well.
  if (request.question === 'abort') process.kill(process.pid, 'SIGABRT')
  if (request.question === 'short') {
    const error = { kind: 'busy', code: 'out_of_memory', message: 'too little' }
    return send({ kind: 'error', id, error })
  }
  if (request.question === 'wait') {
    for (let i = 0; !cancelled.has(id); i++) {
      send({ kind: 'token', id, text: `${i} ` })
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  if (cancelled.has(id)) return send({ kind: 'error', id, error: cancelled.get(id) })
  const timings_ms = { queue: 0, image: 0, pixels: 0, vision: 0, queries: 0, tokens: 0, total: 0 }
  const reply = {
    text: request.question,
    token_ids: [batchSize],
    sequences: [],
    prompt: '',
    timings_ms,
    model: 'fake',
    picture: '',
  }
  send({ kind: 'reply', id, reply })
}

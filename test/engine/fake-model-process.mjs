// A model process without a model: echoes the question; some questions trigger faults.
import { existsSync } from 'node:fs'

const cancelled = new Map()
const say = (message) => process.send(message)
process.on('disconnect', () => process.exit())
process.on('message', async (message) => {
  if (message.kind === 'open') {
    const { artifact } = message.start
    // While the file that `artifact` names exists, a new process exits, or never finishes loading, before it is ready.
    if (existsSync(artifact)) return artifact.endsWith('endless') ? undefined : process.exit(4)
    return say({ kind: 'ready', model: { name: 'fake', precision: 'fp32' }, loadMs: { open: 2000 } })
  }
  if (message.kind === 'close') return process.exit()
  if (message.kind === 'cancel') return cancelled.set(message.id, message.error)
  const { requests } = message
  for (const one of requests) await answer(one, requests.length)
})

async function answer({ id, request }, together) {
  if (request.question === 'exit') process.exit(3)
  // SIGABRT, as native code with a failed assertion; process.abort() would also print a stack.
  if (request.question === 'abort') process.kill(process.pid, 'SIGABRT')
  if (request.question === 'short') {
    const error = { kind: 'busy', code: 'out_of_memory', message: 'too little' }
    return say({ kind: 'error', id, error })
  }
  if (request.question === 'wait') {
    for (let i = 0; !cancelled.has(id); i++) {
      say({ kind: 'token', id, text: `${i} ` })
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  if (cancelled.has(id)) return say({ kind: 'error', id, error: cancelled.get(id) })
  const timings_ms = { queue: 0, image: 0, pixels: 0, vision: 0, queries: 0, tokens: 0, total: 0 }
  const reply = {
    text: request.question,
    token_ids: [together],
    sequences: [],
    prompt: '',
    timings_ms,
    model: 'fake',
    picture: '',
  }
  say({ kind: 'reply', id, reply })
}

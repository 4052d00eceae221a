// drain: SIGTERM under load. npx tsx bench/drain.ts [--runs 50]
//
// Twenty clients load a server process with a stub engine, which gets SIGTERM at a random moment. In every second run a
// request takes 2 s, more in all than the time to stop: those are cancelled with 503. A request is lost if the server read
// it and its client got neither an answer nor a refusal. A connection that the kernel queued and the server never accepted
// is reset when the port closes; it is not counted as lost.

import { parseArgs } from 'node:util'
import { ask, printRow, quantile, type RequestOutcome, startStub, summary } from './traffic.ts'

const { values } = parseArgs({ options: { runs: { type: 'string', default: '50' } } })
const RUNS = Number(values.runs)
const CLIENTS = 20
const EXIT_MS = 8_000

const exits: number[] = []
let lost = 0
let unclean = 0
const all: RequestOutcome[] = []

for (let run = 0; run < RUNS; run++) {
  const stub = await startStub({ serviceMs: run % 2 === 0 ? 20 : 2_000, maxQueue: 8, batch: 1 })
  const outcomes: RequestOutcome[] = []
  let isOver = false
  const client = async () => {
    while (!isOver) {
      const outcome = await ask(stub.port)
      outcomes.push(outcome)
      if (outcome.code === 'ECONNREFUSED') return
      if (outcome.status !== 200) await new Promise((resolve) => setTimeout(resolve, 10 + 20 * Math.random()))
    }
  }
  const clients = Promise.all(Array.from({ length: CLIENTS }, client))
  await new Promise((resolve) => setTimeout(resolve, 300 + 700 * Math.random()))
  const { code, ms, seen } = await stub.stop()
  isOver = true
  await clients

  exits.push(ms)
  if (code !== 0) unclean++
  const seenIds = new Set(seen)
  lost += outcomes.filter(({ status, id }) => status === 0 && seenIds.has(id)).length
  all.push(...outcomes)
}
console.log(`drain ${RUNS} runs, ${CLIENTS} clients, ${summary(all)}`)
printRow('drain lost', lost, 0, '')
printRow('drain exit codes other than 0', unclean, 0, '')
printRow('drain from SIGTERM to exit, p50', quantile(0.5, exits), EXIT_MS, 'ms')
printRow('drain from SIGTERM to exit, max', quantile(1, exits), EXIT_MS, 'ms')
process.exit()

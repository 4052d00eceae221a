// kill: the model process is killed repeatedly under load.
//
//   npx tsx bench/kills.ts [kills] [artifact]      default: 100, the embedded model
//
// Four clients send requests without a pause. Kills come at random moments and alternate between SIGKILL and SIGABRT, which
// is what native code with a failed assertion does. Printed with its target: the time until every running request had its
// typed error, and until the engine was ready again. Exits with 1 if a target is missed.

import { readFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { readConfig } from '../src/config.ts'
import { startEngine } from '../src/engine/engine.ts'
import { isGlimpseError } from '../src/errors.ts'
import { configureLog } from '../src/observe/log.ts'
import { metricsText } from '../src/observe/metrics.ts'

const KILLS = Number(process.argv[2] ?? 100)
const AT_ONCE = 4
const ERROR_MS = 1_000
const OVER_LOAD_MS = 1_000

const picture = await readFile(join(import.meta.dirname, '../models/demo/crab-and-helicopter.png'))
const { cacheFolder, prepackFromMb } = readConfig()
const artifact = process.argv[3] ?? (await embeddedArtifact(cacheFolder))
configureLog('json', { write() {} })

const start = {
  artifact,
  maxBatch: 8,
  warmUp: true,
  prepack: { folder: join(cacheFolder, 'prepacked'), fromBytes: prepackFromMb * 1e6 },
}
const loads: number[] = []
for (let i = 0; i < 3; i++) {
  const began = performance.now()
  const engine = await startEngine(start)
  loads.push(performance.now() - began)
  await engine.close()
}
const loadMs = loads.sort((a, b) => a - b)[1]!
// So many restarts exceed the limit of restarts in a minute, so there is none.
const engine = await startEngine(start, undefined, { restarts: Number.POSITIVE_INFINITY })

const tally = { answered: 0, codes: {} as Record<string, number>, untyped: 0 }
let stopped = false
let killedAt = 0
let lastErrorMs = 0
const client = async () => {
  while (!stopped) {
    try {
      await engine.answer({ image: picture, question: 'what is on the left?' })
      tally.answered++
    } catch (error) {
      lastErrorMs = performance.now() - killedAt
      if (isGlimpseError(error)) tally.codes[error.code] = (tally.codes[error.code] ?? 0) + 1
      else tally.untyped++
    }
  }
}
const clients = Array.from({ length: AT_ONCE }, client)

let maxErrorMs = 0
const readyMs: number[] = []
for (let kill = 0; kill < KILLS; kill++) {
  await sleep(50 + 150 * Math.random())
  const pid = engine.pid!
  lastErrorMs = 0
  killedAt = performance.now()
  process.kill(pid, kill % 2 === 0 ? 'SIGKILL' : 'SIGABRT')
  await until(() => engine.pid !== pid)
  await until(() => engine.ready)
  readyMs.push(performance.now() - killedAt)
  maxErrorMs = Math.max(maxErrorMs, lastErrorMs)
}
stopped = true
await Promise.all(clients)
await engine.close()

const restarts = /^glimpse_worker_restarts_total\{reason="died"\} (\d+)/m.exec(
  (await metricsText()).text,
)?.[1]
console.log(
  `${KILLS} kills under load, ${restarts} restarts counted: ${tally.answered} answered, ` +
    `${JSON.stringify(tally.codes)}, ${tally.untyped} untyped errors`,
)
console.log(`last typed error after a kill: max ${maxErrorMs.toFixed(0)} ms (target ${ERROR_MS} ms)`)
readyMs.sort((a, b) => a - b)
const maxReadyMs = readyMs.at(-1)!
console.log(
  `ready again: median ${readyMs[KILLS >> 1]!.toFixed(0)} ms, max ${maxReadyMs.toFixed(0)} ms (target: load ${loadMs.toFixed(0)} ms + ${OVER_LOAD_MS} ms); load average ${loadavg()[0]!.toFixed(1)}`,
)
const isGood = tally.untyped === 0 && maxErrorMs <= ERROR_MS && maxReadyMs <= loadMs + OVER_LOAD_MS
process.exitCode = isGood && Number(restarts) === KILLS ? 0 : 1

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(2)
}

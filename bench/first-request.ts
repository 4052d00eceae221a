// Time of the first answer after the model is ready, of the tenth, and of the first after a pause; without and with warm-up.
//
//   npx tsx bench/first-request.ts [artifact]      default: the embedded model

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { readConfig } from '../src/config.ts'
import { startEngine } from '../src/engine/engine.ts'

const ROUNDS = 5
const ANSWERS = 10
const PAUSE_MS = 10_000
const NAMES = ['crab-and-helicopter.png', 'guitars.png', 'train-on-white.png']
const pictures = await Promise.all(
  NAMES.map((name) => readFile(join(import.meta.dirname, '../models/demo', name))),
)
const { cacheFolder, prepackFromMb } = readConfig()
const artifact = process.argv[2] ?? (await embeddedArtifact(cacheFolder))
const prepack = { folder: join(cacheFolder, 'prepacked'), fromBytes: prepackFromMb * 1e6 }

interface Times {
  ready: number
  answers: number[]
  afterPause: number
}

const samples = new Map<boolean, Times[]>([
  [false, []],
  [true, []],
])
for (let round = 0; round < ROUNDS; round++) {
  for (const [warmUp, times] of samples) {
    const began = performance.now()
    const engine = await startEngine({ artifact, prepack, warmUp })
    const ready = performance.now() - began
    // Bytes behind a PNG's end change its sha256, so each picture is new to the caches.
    const timed = async (i: number) => {
      const image = Buffer.concat([pictures[i % pictures.length]!, Buffer.from([i])])
      const sentAt = performance.now()
      await engine.answer({ image })
      return performance.now() - sentAt
    }
    const answers: number[] = []
    for (let i = 0; i < ANSWERS; i++) answers.push(await timed(i))
    await sleep(PAUSE_MS)
    times.push({ ready, answers, afterPause: await timed(ANSWERS) })
    await engine.close()
  }
}
for (const [warmUp, rounds] of samples) {
  const of = (pick: (times: Times) => number) => `${median(rounds.map(pick)).toFixed(0)} ms`
  const ratio = median(rounds.map(({ answers }) => answers[0]! / answers.at(-1)!))
  console.log(
    `${warmUp ? 'with warm-up' : 'without warm-up'}: ready after ${of(({ ready }) => ready)}; first answer ${of(({ answers }) => answers[0]!)}, tenth ${of(({ answers }) => answers.at(-1)!)} (${ratio.toFixed(2)}x), after a pause of ${PAUSE_MS / 1000} s ${of(({ afterPause }) => afterPause)}`,
  )
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
}

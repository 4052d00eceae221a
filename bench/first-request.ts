// Time of the first request and the next two, without and with warm-up.
//
//   npx tsx bench/first-request.ts [artifact]      default: the embedded model

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { readConfig } from '../src/config.ts'
import { startEngine } from '../src/engine/engine.ts'

const ROUNDS = 5
const NAMES = ['crab-and-helicopter.png', 'guitars.png', 'train-on-white.png']
const pictures = await Promise.all(
  NAMES.map((name) => readFile(join(import.meta.dirname, '../models/demo', name))),
)
const { cacheFolder, prepackFromMb } = readConfig()
const artifact = process.argv[2] ?? (await embeddedArtifact(cacheFolder))
const prepack = { folder: join(cacheFolder, 'prepacked'), fromBytes: prepackFromMb * 1e6 }

const samples = new Map<boolean, number[][]>()
for (let round = 0; round < ROUNDS; round++) {
  for (const warmUp of [false, true]) {
    const began = performance.now()
    const engine = await startEngine({ artifact, prepack, warmUp })
    const times = [performance.now() - began]
    for (const image of pictures) {
      const sentAt = performance.now()
      await engine.answer({ image })
      times.push(performance.now() - sentAt)
    }
    await engine.close()
    samples.set(warmUp, [...(samples.get(warmUp) ?? []), times])
  }
}
for (const [warmUp, rounds] of samples) {
  const [start, ...captions] = rounds[0]!.map((_, i) => median(rounds.map((times) => times[i]!)))
  console.log(
    `${warmUp ? 'with warm-up' : 'without warm-up'}: ready after ${start!.toFixed(0)} ms; captions ${captions.map((ms) => `${ms.toFixed(0)} ms`).join(', ')}`,
  )
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
}

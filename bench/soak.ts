// Does the engine grow? Asks of many kinds, one after another; memory and handles every thousand.
//
//   npx tsx bench/soak.ts [inferences] [artifact]      10,000, the embedded model
//
// Both processes are watched: this one and the model's. Before it begins, as many pictures are shown as the model
// remembers: until then it grows by design. The slope is that of a straight line through the samples after the first
// tenth. Exit code 1 where a target is missed.

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openArtifact } from '../src/artifact/open.ts'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { readConfig } from '../src/config.ts'
import { MAX_CACHE_BYTES } from '../src/engine/encoder-cache.ts'
import { startEngine } from '../src/engine/engine.ts'
import type { InferenceRequest } from '../src/engine/request.ts'

const COUNT = Number(process.argv[2] ?? 10_000)
const SAMPLES = 40
const AT_ONCE = 4
const TARGET_MB = 1
const DEMO = join(import.meta.dirname, '../models/demo')

const { cacheFolder, prepackFromMb } = readConfig()
const artifact = process.argv[3] ?? (await embeddedArtifact(cacheFolder))
const names = (await readdir(DEMO)).filter((name) => name.endsWith('.png'))
const pictures = await Promise.all(names.map((name) => readFile(join(DEMO, name))))
const engine = await startEngine({
  artifact,
  maxBatch: 8,
  warmUp: true,
  prepack: { folder: join(cacheFolder, 'prepacked'), fromBytes: prepackFromMb * 1e6 },
})

const { queries, width } = (await openArtifact(artifact)).sizes
const remembered = Math.ceil(MAX_CACHE_BYTES / (Float32Array.BYTES_PER_ELEMENT * queries * width))
for (let shown = 0; shown < remembered; shown += AT_ONCE) {
  await Promise.all(
    Array.from({ length: AT_ONCE }, (_, i) =>
      engine.answer({ image: pictureOf(COUNT + shown + i), settings: { max_new_tokens: 1 } }),
    ),
  )
}

interface Sample {
  done: number
  rssMb: number
  fds: number
}
const samples: Record<'server' | 'model', Sample[]> = { server: [], model: [] }
let done = 0
let handles = 0
const began = performance.now()
while (done < COUNT) {
  const asks = Array.from({ length: Math.min(AT_ONCE, COUNT - done) }, (_, i) => askOf(done + i))
  await Promise.all(
    asks.map(async ({ request, fails }) => {
      const error = await engine.answer(request).then(
        () => undefined,
        (error: unknown) => error,
      )
      if ((error !== undefined) !== fails) throw new Error('an ask ended as it should not', { cause: error })
    }),
  )
  done += asks.length
  if (done % Math.max(AT_ONCE, Math.round(COUNT / SAMPLES / AT_ONCE) * AT_ONCE) === 0) {
    globalThis.gc?.()
    samples.server.push({ done, ...(await sizeOf(process.pid)) })
    samples.model.push({ done, ...(await sizeOf(engine.pid!)) })
    const { server, model } = { server: samples.server.at(-1)!, model: samples.model.at(-1)! }
    process.stderr.write(
      `${done}: server ${server.rssMb.toFixed(1)} MB, model ${model.rssMb.toFixed(1)} MB\n`,
    )
    handles ||= process.getActiveResourcesInfo().length
  }
}
const seconds = (performance.now() - began) / 1000
const handlesNow = process.getActiveResourcesInfo().length
await engine.close()

console.log(`${COUNT} inferences in ${seconds.toFixed(0)} s, handles ${handles} -> ${handlesNow}`)
let isGood = handlesNow <= handles + 2
for (const [name, all] of Object.entries(samples)) {
  const settled = all.filter(({ done }) => done > COUNT / 10)
  const slope = 1000 * slopeOf(settled.map(({ done, rssMb }) => [done, rssMb]))
  const [first, last] = [settled[0]!, settled.at(-1)!]
  console.log(
    `${name}: ${slope.toFixed(2)} MB per 1,000 (target <= ${TARGET_MB}), RSS ${first.rssMb.toFixed(0)} -> ${last.rssMb.toFixed(0)} MB, ` +
      `files ${first.fds} -> ${last.fds}`,
  )
  isGood &&= slope <= TARGET_MB && last.fds <= first.fds + 1
}
process.exitCode = isGood ? 0 : 1

/** Mostly new pictures, captions and questions, greedy and beams; every fiftieth is no picture. */
function askOf(number: number): { request: InferenceRequest; fails: boolean } {
  const image = pictureOf(number)
  if (number % 50 === 49) return { request: { image: image.subarray(0, 300) }, fails: true }
  const question = number % 3 === 0 ? undefined : `what is at number ${number % 7}?`
  return { request: { image, question, settings: number % 5 === 0 ? { num_beams: 3 } : {} }, fails: false }
}

/** Bytes after the end make another file of the same content. */
function pictureOf(number: number): Buffer {
  return Buffer.concat([pictures[number % pictures.length]!, Buffer.from(Uint32Array.of(number).buffer)])
}

async function sizeOf(pid: number): Promise<{ rssMb: number; fds: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const kilobytes = Number(/^VmRSS:\s+(\d+)/m.exec(status)![1])
  return { rssMb: kilobytes / 1024, fds: (await readdir(`/proc/${pid}/fd`)).length }
}

/** Least squares. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const mean = (of: (point: readonly [number, number]) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length
  const [x, y] = [mean(([x]) => x), mean(([, y]) => y)]
  const above = points.reduce((sum, [px, py]) => sum + (px - x) * (py - y), 0)
  return above / points.reduce((sum, [px]) => sum + (px - x) ** 2, 0)
}

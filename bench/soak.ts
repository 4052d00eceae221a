// soak: growth of memory, file descriptors and handles over many requests of different kinds, and how much anonymous memory
// the model process takes (what is not mapped from a file, as its weights are).
//
//   npx tsx bench/soak.ts [inferences] [artifact]      default: 10,000, the embedded model
//
// Measures this process and the model process. The stage caches are filled first, because until then memory grows by design.
// The slope is that of a least-squares line through the samples after the first tenth; of fewer than 1,000 answers it is
// not judged. Exits with 1 if a target is missed.

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openArtifact } from '../src/artifact/open.ts'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { readConfig } from '../src/config.ts'
import { startEngine } from '../src/engine/engine.ts'
import type { InferenceRequest } from '../src/engine/request.ts'
import { MAX_PROMPTS_BYTES, MAX_QUERIES_BYTES, MAX_VISION_BYTES } from '../src/engine/stage-cache.ts'

const COUNT = Number(process.argv[2] ?? 10_000)
const SAMPLES = 40
const AT_ONCE = 4
const TARGET_MB = 1
const JUDGED_FROM = 1000
/** Of a warm model process, besides kept prompts. */
const ANONYMOUS_MB = 400
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

const { queries, vision, language } = await openArtifact(artifact)
if (language.kind === 'none') throw new Error('Expected a model that writes text.')
const prefixBytes = Float32Array.BYTES_PER_ELEMENT * queries.count * language.width
const visionBytes = Float32Array.BYTES_PER_ELEMENT * vision.patches * vision.width
const cachedPictures = Math.max(
  Math.ceil(MAX_QUERIES_BYTES / prefixBytes),
  queries.text ? Math.ceil(MAX_VISION_BYTES / visionBytes) : 0,
)
const toFill = COUNT < JUDGED_FROM ? Math.min(cachedPictures, COUNT) : cachedPictures
for (let sent = 0; sent < toFill; sent += AT_ONCE) {
  await Promise.all(
    Array.from({ length: AT_ONCE }, (_, i) =>
      engine.answer({ image: pictureOf(COUNT + sent + i), settings: { max_new_tokens: 1 } }),
    ),
  )
}

interface Sample {
  done: number
  rssMb: number
  anonymousMb: number
  fds: number
}
const samples: Record<'server' | 'model', Sample[]> = { server: [], model: [] }
let done = 0
let handles = 0
const began = performance.now()
while (done < COUNT) {
  const requests = Array.from({ length: Math.min(AT_ONCE, COUNT - done) }, (_, i) => requestOf(done + i))
  await Promise.all(
    requests.map(async ({ request, fails }) => {
      const error = await engine.answer(request).then(
        () => undefined,
        (error: unknown) => error,
      )
      if ((error !== undefined) !== fails) {
        const [got, expected] = error === undefined ? ['a reply', 'an error'] : ['an error', 'a reply']
        throw new Error(`Expected ${expected} but got ${got}.`, { cause: error })
      }
    }),
  )
  done += requests.length
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
  isGood &&= (COUNT < JUDGED_FROM || slope <= TARGET_MB) && last.fds <= first.fds + 1
}
const keepsPrompts = language.kind === 'decoder' && !queries.reads_text
const most = Math.max(...samples.model.map(({ anonymousMb }) => anonymousMb))
const allowed = ANONYMOUS_MB + (keepsPrompts ? MAX_PROMPTS_BYTES / 1e6 : 0)
console.log(
  `model: at most ${most.toFixed(0)} MB of anonymous memory (target <= ${ANONYMOUS_MB} MB, with kept prompts ${allowed.toFixed(0)} MB)`,
)
isGood &&= most <= allowed
process.exitCode = isGood ? 0 : 1

/** Returns a caption or question request, greedy or with beams; every fiftieth has a truncated picture and fails. */
function requestOf(number: number): { request: InferenceRequest; fails: boolean } {
  const image = pictureOf(number)
  if (number % 50 === 49) return { request: { image: image.subarray(0, 300) }, fails: true }
  const question = number % 3 === 0 ? undefined : `what is at number ${number % 7}?`
  return { request: { image, question, settings: number % 5 === 0 ? { num_beams: 3 } : {} }, fails: false }
}

/** Appended bytes change the sha256 but not the decoded picture. */
function pictureOf(number: number): Buffer {
  return Buffer.concat([pictures[number % pictures.length]!, Buffer.from(Uint32Array.of(number).buffer)])
}

async function sizeOf(pid: number): Promise<Omit<Sample, 'done'>> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const megabytes = (name: string) =>
    (1024 * Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)![1])) / 1e6
  const fds = (await readdir(`/proc/${pid}/fd`)).length
  return { rssMb: megabytes('VmRSS'), anonymousMb: megabytes('RssAnon'), fds }
}

/** Returns the slope of the least-squares line. */
function slopeOf(points: readonly (readonly [number, number])[]): number {
  const mean = (of: (point: readonly [number, number]) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length
  const [x, y] = [mean(([x]) => x), mean(([, y]) => y)]
  const covariance = points.reduce((sum, [px, py]) => sum + (px - x) * (py - y), 0)
  return covariance / points.reduce((sum, [px]) => sum + (px - x) ** 2, 0)
}

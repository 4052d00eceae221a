// search: latency, recall, disk and writing speed of a collection, without a model.
//
//   npx tsx bench/search.ts [--pictures 10000] [--count 32] [--width 256] [--queries 300]
//
// Vectors are made up: each picture has a content of 24 numbers, each of its queries sees a part of it beside the query's own
// direction and noise, and a text sees another part. Texts are about pictures of the collection. Recall is against the exact
// scores of all pictures. Exits with 1 if p99 is over 100 ms or recall@10 below 99 %.

import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { toHalf } from '../src/half.ts'
import { createRng } from '../src/run/sampling.ts'
import type { Embedder } from '../src/search/embedder.ts'
import { find } from '../src/search/find.ts'
import { openSearchStore } from '../src/search/open.ts'
import { pictureSimilarity, textSimilarity } from '../src/search/score.ts'
import type { IndexedPicture } from '../src/search/store.ts'
import { quantile } from './traffic.ts'

const TARGET_P99_MS = 100
const TARGET_RECALL = 0.99
const CONTENT = 24
const COMMIT = 256
const K = 10

const { values } = parseArgs({
  options: {
    pictures: { type: 'string', default: '10000' },
    count: { type: 'string', default: '32' },
    width: { type: 'string', default: '256' },
    queries: { type: 'string', default: '300' },
  },
})
const [pictures, count, width, queries] = [values.pictures, values.count, values.width, values.queries].map(
  Number,
) as [number, number, number, number]

const random = createRng(1)
const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
const gaussians = (length: number) => Float32Array.from({ length }, gaussian)
const slots = gaussians(count * width)
const directions = gaussians(CONTENT * width)
const seen = Array.from({ length: count }, () =>
  Float32Array.from({ length: CONTENT }, () => (random() < 0.3 ? 1 : 0.15)),
)

/** A unit vector that sees `weights` of the content. */
function vectorOf(content: Float32Array, weights: Float32Array, base: (i: number) => number): Float32Array {
  const vector = Float32Array.from({ length: width }, (_, i) => {
    let sum = base(i)
    for (let k = 0; k < CONTENT; k++) sum += directions[k * width + i]! * content[k]! * weights[k]!
    return sum
  })
  const length = Math.hypot(...vector)
  return vector.map((value) => value / length)
}

function pictureOf(content: Float32Array, id: string): IndexedPicture {
  const all = new Float32Array(count * width)
  for (const [slot, weights] of seen.entries()) {
    const own = (i: number) => 2 * slots[slot * width + i]! + gaussian()
    all.set(vectorOf(content, weights, own), slot * width)
  }
  return { id, sha256: id, sizeBytes: 1, modifiedMs: 1, dateMs: 1, vectors: toHalf(all) }
}

function textOf(content: Float32Array): Float32Array {
  const weights = Float32Array.from({ length: CONTENT }, () => (random() < 0.3 ? 1 : 0))
  return vectorOf(content, weights, () => 1.5 * gaussian())
}

const folder = await mkdtemp(join(tmpdir(), 'glimpse-bench-search-'))
const contents = Array.from({ length: pictures }, () => gaussians(CONTENT))
const rows = contents.map((content, i) => pictureOf(content, `/pictures/${i}.jpg`))
const model = { key: 'bench', name: 'bench', count, width }
const store = await openSearchStore(folder)
const collection = await store.create('pictures', model)
const addingFrom = performance.now()
for (let at = 0; at < rows.length; at += COMMIT) await collection.upsert(rows.slice(at, at + COMMIT))
const addedS = (performance.now() - addingFrom) / 1000
const settlingFrom = performance.now()
await collection.settle()
const settledS = (performance.now() - settlingFrom) / 1000
const names = await readdir(folder, { recursive: true })
const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size))
const bytes = sizes.reduce((sum, size) => sum + size, 0) / pictures

let isGood = true
for (const kind of ['text', 'image'] as const) {
  const asked = Array.from({ length: queries }, (_, i) => {
    const content = contents[(i * 7919) % pictures]!
    return { text: textOf(content), like: pictureOf(content, 'query').vectors }
  })
  const search = async ({ text, like }: (typeof asked)[number]) => {
    const unused = () => Promise.reject(new Error('Not needed here.'))
    const embedder: Embedder = {
      model,
      batch: 1,
      rerankHelps: false,
      embedPicture: async () => like,
      embedText: async () => text,
      match: unused,
    }
    const terms = [kind === 'text' ? { text: '' } : { image: new Uint8Array(0) }]
    return await find({ collection, embedder, pictureOf: unused }, { terms, limit: K })
  }
  // The first search reads the index from the disk.
  await search(asked[0]!)
  const times: number[] = []
  const answers: string[][] = []
  for (const one of asked) {
    const began = performance.now()
    const { hits } = await search(one)
    times.push(performance.now() - began)
    answers.push(hits.map(({ picture }) => picture.id))
  }
  // Exact scores last: they fill the processor's caches.
  let found = 0
  for (const [i, { text, like }] of asked.entries()) {
    const score = ({ vectors }: IndexedPicture) =>
      kind === 'text' ? textSimilarity(vectors, text) : pictureSimilarity(vectors, like, count)
    const exact = rows.map((row) => [score(row), row.id] as const).sort(([one], [other]) => other - one)
    const best = new Set(exact.slice(0, K).map(([, id]) => id))
    found += answers[i]!.filter((id) => best.has(id)).length
  }
  const [p50, p99] = [quantile(0.5, times), quantile(0.99, times)]
  const recall = found / (queries * K)
  isGood &&= p99 <= TARGET_P99_MS && recall >= TARGET_RECALL
  console.log(
    `${kind}: ${pictures} pictures of ${count} x ${width}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms (target ${TARGET_P99_MS}), ` +
      `recall@${K} ${(100 * recall).toFixed(2)} % (target ${100 * TARGET_RECALL}), load ${loadavg()[0]!.toFixed(1)}`,
  )
}
console.log(
  `disk ${(bytes / 1000).toFixed(1)} kB a picture; written ${(pictures / addedS).toFixed(0)} pictures/s in commits of ${COMMIT}; settled in ${settledS.toFixed(1)} s`,
)
store.close()
await rm(folder, { recursive: true })
process.exitCode = isGood ? 0 : 1

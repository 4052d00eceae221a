// index and search with a model: pictures a second, bytes of each, and the time of a search with the encoding of its text or
// picture.
//
//   npx tsx bench/index-folder.ts [--pictures 10000] [--queries 300] [--model ARTIFACT]
//
// The pictures are random crops of models/demo. Default model: the embedded one. Rates are of this machine in this moment, so
// the load is printed too.

import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { inParallel } from '../src/concurrency.ts'
import { startEngine } from '../src/engine/engine.ts'
import { createRng } from '../src/run/sampling.ts'
import { engineEmbedder } from '../src/search/embedder.ts'
import { find, type Term } from '../src/search/find.ts'
import { indexFolders } from '../src/search/index-folders.ts'
import { openSearchStore } from '../src/search/open.ts'

const DEMO = join(import.meta.dirname, '../models/demo')
const SIDE = 256
const BATCH = 8

const { values } = parseArgs({
  options: {
    pictures: { type: 'string', default: '10000' },
    queries: { type: 'string', default: '300' },
    model: { type: 'string' },
  },
})
const [count, queries] = [Number(values.pictures), Number(values.queries)]
const random = createRng(1)
const room = await mkdtemp(join(tmpdir(), 'glimpse-bench-index-'))
try {
  const photos = join(room, 'photos')
  await mkdir(photos)
  const names = (await readdir(DEMO)).filter((name) => /\.(png|jpg)$/.test(name))
  const sources = await Promise.all(names.map((name) => readFile(join(DEMO, name))))
  await inParallel(
    Array.from({ length: count }, (_, i) => i),
    4,
    async (i) => {
      const source = sharp(sources[i % sources.length]!)
      const { width, height } = await source.metadata()
      const side = Math.floor(Math.min(width, height) * (0.5 + 0.5 * random()))
      const [left, top] = [width, height].map((size) => Math.floor(random() * (size - side))) as [
        number,
        number,
      ]
      const crop = source.extract({ left, top, width: side, height: side }).resize(SIDE, SIDE)
      await writeFile(join(photos, `${i}.jpg`), await crop.jpeg().toBuffer())
    },
  )

  const artifact = values.model ?? (await embeddedArtifact(process.env.GLIMPSE_CACHE ?? join(room, 'cache')))
  const engine = await startEngine({ artifact })
  const embedder = await engineEmbedder(engine, BATCH)
  const store = await openSearchStore(join(room, 'index'))
  const collection = await store.create('pictures', embedder.model)
  let settlingFrom = 0
  const began = performance.now()
  const report = await indexFolders(collection, embedder, [photos], {
    onSettling: () => {
      settlingFrom = performance.now()
    },
  })
  const [encodedS, settledS] = [settlingFrom - began, performance.now() - settlingFrom].map((ms) => ms / 1000)
  const files = await readdir(join(room, 'index'), { recursive: true })
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(room, 'index', name))).size))
  const bytes = sizes.reduce((sum, size) => sum + size, 0) / count
  console.log(
    `${report.added} of ${count} pictures: ${(count / encodedS!).toFixed(1)} pictures/s, settled in ${settledS!.toFixed(1)} s, ` +
      `${(bytes / 1000).toFixed(1)} kB a picture, load ${loadavg()[0]!.toFixed(1)}`,
  )

  const colours = ['red', 'blue', 'green', 'yellow', 'white', 'black']
  const nouns = ['circle', 'guitar', 'dog', 'cat', 'house', 'car', 'tree', 'apple']
  const texts = Array.from({ length: queries }, (_, i) => `a ${colours[i % 6]} ${nouns[(i * 5) % 8]}, ${i}`)
  const pictureOf = () => Promise.reject(new Error('Not needed here.'))
  const kinds: Record<string, (i: number) => Promise<Term>> = {
    text: async (i) => ({ text: texts[i]! }),
    picture: async (i) => ({ image: await readFile(join(photos, `${(i * 7919) % count}.jpg`)) }),
  }
  for (const [kind, termOf] of Object.entries(kinds)) {
    const times: number[] = []
    for (let i = -1; i < queries; i++) {
      const term = await termOf(Math.max(i, 0))
      const from = performance.now()
      const { hits } = await find(
        { collection, embedder, pictureOf },
        { terms: [term], limit: 10, rerank: false },
      )
      if (hits.length !== 10) throw new Error(`Expected 10 hits but got ${hits.length}.`)
      // The first search reads the index from the disk.
      if (i >= 0) times.push(performance.now() - from)
    }
    times.sort((one, other) => one - other)
    const [p50, p99] = [0.5, 0.99].map((part) => times[Math.floor(part * queries)]!.toFixed(1))
    console.log(`search by ${kind}: p50 ${p50} ms, p99 ${p99} ms, load ${loadavg()[0]!.toFixed(1)}`)
  }
  store.close()
  await engine.close()
} finally {
  await rm(room, { recursive: true, force: true })
}

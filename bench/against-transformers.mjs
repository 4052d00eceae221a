// Compares Glimpse with transformers in alternating rounds on one machine: a first caption, and a question about a picture
// seen before.
//
//   node bench/random-checkpoint.mjs --out /tmp/opt-2.7b
//   npx glimpse build /tmp/opt-2.7b --out /tmp/opt-2.7b-int4 --precision int4
//   node bench/against-transformers.mjs --checkpoint /tmp/opt-2.7b --model /tmp/opt-2.7b-int4 --python python3
//
// transformers runs in float32, which needs 16 GB, and in bfloat16, which needs 8 GB and is its fastest type on a CPU with
// avx512_bf16 or AMX. --types float32 leaves one out. All generate exactly --tokens tokens. The limit is what the machine's
// peak and bandwidth allow Glimpse, measured in each round. On a shared machine compare only the ratios.

import { spawn } from 'node:child_process'
import { availableParallelism, homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { openArtifact } from '../dist/artifact/open.js'
import { readBandwidth } from '../dist/bench/bandwidth.js'
import { measurePeak } from '../dist/bench/limits.js'
import { limitsOf } from '../dist/bench/measure.js'
import { startEngine } from '../dist/engine/engine.js'

const { values: options } = parseArgs({
  options: {
    checkpoint: { type: 'string' },
    model: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    types: { type: 'string', default: 'float32,bfloat16' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '10' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
})
if (!options.checkpoint || !options.model) {
  console.error('Expected --checkpoint <folder> for transformers and --model <artifact> for Glimpse.')
  process.exit(2)
}
const rounds = Number(options.rounds)
const new_tokens = Number(options.tokens)
const threads = Number(options.threads)
const QUESTION = 'what is it?'

const engine = await startEngine({
  artifact: options.model,
  threads,
  prepack: {
    folder: join(process.env.GLIMPSE_CACHE ?? join(homedir(), '.cache', 'glimpse'), 'prepacked'),
    fromBytes: 0,
  },
})
const manifest = await openArtifact(options.model)
const peers = []
for (const type of options.types.split(',')) {
  const script = join(import.meta.dirname, 'transformers.py')
  const python = spawn(options.python, [script, options.checkpoint, String(threads), type], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value ?? '{"ready":"no transformers"}')
  // One after another: two that load at the same time need twice the memory.
  const { ready } = await next()
  console.log(`${ready}, ${type}`)
  peers.push({
    type,
    stop: () => python.stdin.end(),
    async generate(ids) {
      python.stdin.write(`${JSON.stringify({ ids, new_tokens })}\n`)
      return (await next()).total
    },
  })
}
console.log(`Glimpse ${engine.model.precision} | ${threads} threads, ${new_tokens} tokens`)

/** Ids of the prompt that transformers reads: none, and a question of twelve tokens. */
const PROMPTS = { caption: [2], question: [2, ...Array.from({ length: 12 }, (_, i) => 100 + i)] }
const rows = { caption: [], question: [] }
for (let round = -1; round < rounds; round++) {
  const image = await noise(round)
  for (const [name, ids] of Object.entries(PROMPTS)) {
    const row = {}
    for (const { type, generate } of peers) row[type] = await generate(ids)
    // For the question, Glimpse has cached what it can of the picture; transformers encodes it again.
    row.Glimpse = await answer(name === 'caption' ? { image } : { image, question: QUESTION })
    row.limit = (await limits())[name]
    if (round < 0) continue // warm-up
    rows[name].push(row)
    const times = Object.entries(row).map(([who, seconds]) => `${who} ${seconds.toFixed(2)} s`)
    console.log(`  ${name.padEnd(8)} ${times.join(', ')}`)
  }
}
for (const [name, all] of Object.entries(rows)) {
  const of = (ratio) => all.map(ratio).sort((a, b) => a - b)
  const range = (ratios) =>
    `${median(ratios).toFixed(1)}x (${ratios[0].toFixed(1)} to ${ratios.at(-1).toFixed(1)})`
  const faster = peers.map(({ type }) => `${range(of((row) => row[type] / row.Glimpse))} faster than ${type}`)
  const far = `${median(of((row) => row.Glimpse / row.limit)).toFixed(2)} times the limit`
  console.log(
    `${name.padEnd(8)} median ${median(of((row) => row.Glimpse)).toFixed(2)} s: ${faster.join(', ')}; ${far}`,
  )
}
for (const peer of peers) peer.stop()
await engine.close()

/** Seconds that the machine needs at least for a caption, and for a question about a picture whose keys and values are kept. */
async function limits() {
  const peaks = {
    operationsPerSecond: await measurePeak(manifest.precision === 'fp32' ? 'float32' : 'int8', threads),
    bytesPerSecond: await readBandwidth(threads),
  }
  const read = (positions) => limitsOf(options.model, manifest, peaks, positions)
  const picture = await read(manifest.queries.count + 1)
  const text = await read(12)
  const tokens = (new_tokens - 1) * picture.token
  return {
    caption: (picture.vision + picture.queries + picture.prefill + tokens) / 1000,
    question: (text.prefill + tokens) / 1000,
  }
}

async function answer(request) {
  const settings = { max_new_tokens: new_tokens, min_new_tokens: new_tokens }
  const began = performance.now()
  await engine.answer({ ...request, settings })
  return (performance.now() - began) / 1000
}

function noise(seed) {
  const bytes = Buffer.alloc(300 * 200 * 3)
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 2654435761 + seed * 40503) >>> 13
  return sharp(bytes, { raw: { width: 300, height: 200, channels: 3 } })
    .png()
    .toBuffer()
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
}

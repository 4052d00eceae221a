// Compares Glimpse with transformers in alternating rounds on one machine: a first caption, a caption of a picture seen before
// (warm), and a question about it (follow-up). transformers encodes the picture each time.
//
//   node bench/random-checkpoint.mjs --out /tmp/opt-2.7b
//   npx glimpse build /tmp/opt-2.7b --out /tmp/opt-2.7b-int4 --precision int4
//   node bench/against-transformers.mjs --checkpoint /tmp/opt-2.7b --model /tmp/opt-2.7b-int4 --python python3
//
// transformers runs in float32, which needs 16 GB, and in bfloat16, which needs 8 GB and is its fastest type on a CPU with
// avx512_bf16 or AMX. --types float32 leaves one out; --types float32:8,bfloat16 loads 8 layers of the language model in
// float32 and extrapolates. All generate exactly --tokens tokens from the same prompt. The limit is what the machine's peak
// and bandwidth allow Glimpse, measured in each round. On a shared machine compare only the ratios.

import { spawn } from 'node:child_process'
import { availableParallelism, cpus, homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { openArtifact } from '../dist/artifact/open.js'
import { readBandwidth } from '../dist/bench/bandwidth.js'
import { measurePeak } from '../dist/bench/limits.js'
import { limitsOf, totals } from '../dist/bench/measure.js'
import { startEngine } from '../dist/engine/engine.js'
import { thisProcessor } from '../dist/run/cpu.js'
import { openTokenizer } from '../dist/tokens/tokenizer.js'

const { values: options } = parseArgs({
  options: {
    checkpoint: { type: 'string' },
    model: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    types: { type: 'string', default: 'float32,bfloat16' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '10' },
    threads: { type: 'string', default: String(availableParallelism()) },
    /** Opens the artifact's own graphs: a slower start and more memory, the same times. */
    'no-prepack': { type: 'boolean', default: false },
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
  prepack: options['no-prepack']
    ? undefined
    : {
        folder: join(process.env.GLIMPSE_CACHE ?? join(homedir(), '.cache', 'glimpse'), 'prepacked'),
        fromBytes: 0,
      },
})
const manifest = await openArtifact(options.model)
const peers = []
for (const option of options.types.split(',')) {
  const [type, ...layers] = option.split(':')
  const script = join(import.meta.dirname, 'transformers.py')
  const python = spawn(options.python, [script, options.checkpoint, String(threads), type, ...layers], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value ?? '{"ready":"no transformers"}')
  // One after another: two that load at the same time need twice the memory.
  console.log((await next()).ready)
  peers.push({
    type,
    stop: () => python.stdin.end(),
    async generate(ids) {
      python.stdin.write(`${JSON.stringify({ ids, new_tokens })}\n`)
      return (await next()).total
    },
  })
}
const { model, dotProducts = 'without 8-bit dot products' } = thisProcessor()
console.log(
  `Glimpse ${manifest.name} at ${engine.model.precision} | ${model}, ${dotProducts} | ${threads} of ${cpus().length} threads, ${new_tokens} tokens`,
)

const tokenizer = await openTokenizer(options.model)
/** What is asked, and which of `totals` it is. The first is about a new picture, the others about the same again. */
const CASES = {
  'first caption': { total: 'caption_ms' },
  'warm caption': { total: 'warm_caption_ms' },
  'follow-up': { total: 'question_ms', question: QUESTION },
}
const rows = Object.fromEntries(Object.keys(CASES).map((name) => [name, []]))
for (let round = -1; round < rounds; round++) {
  const image = await noise(round)
  let theirs
  for (const [name, { total, question }] of Object.entries(CASES)) {
    const own = await answer({ image, question })
    // A caption of a picture seen before is to transformers the same as of a new one.
    if (name !== 'warm caption') {
      theirs = {}
      for (const { type, generate } of peers) theirs[type] = await generate(own.ids)
    }
    const row = { ...theirs, Glimpse: own.seconds, limit: (await limitOf(own.ids.length))[total] / 1000 }
    if (round < 0) continue // warm-up
    rows[name].push(row)
    const times = Object.entries(row).map(([who, seconds]) => `${who} ${seconds.toFixed(2)} s`)
    console.log(`  ${name.padEnd(13)} ${times.join(', ')}`)
  }
}
for (const [name, all] of Object.entries(rows)) {
  const of = (ratio) => all.map(ratio).sort((a, b) => a - b)
  const range = (ratios) =>
    `${median(ratios).toFixed(1)}x (${ratios[0].toFixed(1)} to ${ratios.at(-1).toFixed(1)})`
  const faster = peers.map(({ type }) => `${range(of((row) => row[type] / row.Glimpse))} faster than ${type}`)
  const far = `${median(of((row) => row.Glimpse / row.limit)).toFixed(2)} times the limit`
  console.log(
    `${name.padEnd(13)} median ${median(of((row) => row.Glimpse)).toFixed(2)} s: ${faster.join(', ')}; ${far}`,
  )
}
for (const peer of peers) peer.stop()
await engine.close()

/** What the machine allows Glimpse in this moment, for a prompt of so many tokens: see `totals`. */
async function limitOf(promptTokens) {
  const peaks = {
    operationsPerSecond: await measurePeak(manifest.precision === 'fp32' ? 'float32' : 'int8', threads),
    bytesPerSecond: await readBandwidth(threads),
  }
  const limits = await limitsOf(options.model, manifest, peaks, promptTokens)
  return totals(limits, new_tokens, manifest.queries.reads_text)
}

/** Seconds, and the ids of the prompt; for a caption the begin token alone. */
async function answer(request) {
  const settings = { max_new_tokens: new_tokens, min_new_tokens: new_tokens }
  const began = performance.now()
  const { prompt } = await engine.answer({ ...request, settings })
  const seconds = (performance.now() - began) / 1000
  return { seconds, ids: tokenizer.encode(prompt) }
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

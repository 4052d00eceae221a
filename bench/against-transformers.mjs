// Compares Glimpse with transformers in alternating rounds on one machine: a first caption, and a question about a picture
// seen before.
//
//   node bench/random-checkpoint.mjs --out /tmp/opt-2.7b
//   npx glimpse build /tmp/opt-2.7b --out /tmp/opt-2.7b-int4 --precision int4
//   node bench/against-transformers.mjs --checkpoint /tmp/opt-2.7b --model /tmp/opt-2.7b-int4 --python python3
//
// transformers runs in float32, its fastest type on a CPU without AMX, and needs 16 GB. Both generate exactly --tokens
// tokens. On a shared machine compare only the ratios.

import { spawn } from 'node:child_process'
import { availableParallelism, homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import sharp from 'sharp'
import { startEngine } from '../dist/engine/engine.js'

const { values: options } = parseArgs({
  options: {
    checkpoint: { type: 'string' },
    model: { type: 'string' },
    python: { type: 'string', default: 'python3' },
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
const python = spawn(
  options.python,
  [join(import.meta.dirname, 'transformers.py'), options.checkpoint, String(threads)],
  { stdio: ['pipe', 'pipe', 'inherit'] },
)
const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]()
const nextMessage = async () => JSON.parse((await lines.next()).value ?? '{"ready":"no transformers"}')
console.log(
  `${(await nextMessage()).ready}, fp32 | Glimpse ${engine.model.precision} | ${threads} threads, ${new_tokens} tokens`,
)

const transformersTimes = { caption: [], question: [] }
const glimpseTimes = { caption: [], question: [] }
for (let round = -1; round < rounds; round++) {
  const image = await noise(round)
  const times = {
    caption: [await generate([2]), await answer({ image })],
    // A question of twelve tokens. Glimpse has cached the picture's embeddings; transformers encodes it again.
    question: [
      await generate([2, ...Array.from({ length: 12 }, (_, i) => 100 + i)]),
      await answer({ image, question: QUESTION }),
    ],
  }
  if (round < 0) continue // warm-up
  for (const [name, [transformersS, glimpseS]] of Object.entries(times)) {
    transformersTimes[name].push(transformersS)
    glimpseTimes[name].push(glimpseS)
    console.log(
      `  ${name.padEnd(8)} transformers ${transformersS.toFixed(2)} s, Glimpse ${glimpseS.toFixed(2)} s: ${(transformersS / glimpseS).toFixed(1)}x`,
    )
  }
}
for (const name of ['caption', 'question']) {
  const ratios = transformersTimes[name]
    .map((seconds, i) => seconds / glimpseTimes[name][i])
    .sort((a, b) => a - b)
  console.log(
    `${name.padEnd(8)} median: transformers ${median(transformersTimes[name]).toFixed(2)} s, Glimpse ${median(glimpseTimes[name]).toFixed(2)} s: ${median(ratios).toFixed(1)}x (${ratios[0].toFixed(1)} to ${ratios.at(-1).toFixed(1)})`,
  )
}
python.stdin.end()
await engine.close()

async function generate(ids) {
  python.stdin.write(`${JSON.stringify({ ids, new_tokens })}\n`)
  return (await nextMessage()).total
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

// Relative error of each stage at lower precision: artifacts of one checkpoint against its fp32 artifact.
//
//   node bench/random-checkpoint.mjs --out /tmp/opt-2.7b
//   for p in fp32 int8 int4; do npx glimpse build /tmp/opt-2.7b --out /tmp/opt-2.7b-$p --precision $p; done
//   node bench/precision.mjs /tmp/opt-2.7b-fp32 /tmp/opt-2.7b-int8 /tmp/opt-2.7b-int4
//
// Prints two relative errors |a - b| / |b| over three pictures: of the stage alone, given fp32 inputs, and of the whole path
// up to and including the stage.

import { readFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { QUERIES, VISION } from '../dist/artifact/contract.js'
import { AS_SEEN, decode } from '../dist/image/decode.js'
import { toPixels } from '../dist/image/pixels.js'
import { openModel } from '../dist/run/model.js'
import { runQueries } from '../dist/run/queries.js'
import { Tensor } from '../dist/run/tensor.js'
import { runVision } from '../dist/run/vision.js'

const PICTURES = ['guitars.png', 'crab-and-helicopter.png', 'train-on-white.png']
const [reference, ...others] = process.argv.slice(2)
if (!reference || others.length === 0) {
  console.error(
    'Expected the fp32 artifact and one or more others: node bench/precision.mjs <fp32> <int8> <int4>.',
  )
  process.exit(2)
}

const pictures = await Promise.all(
  PICTURES.map((name) => readFile(join(import.meta.dirname, '../models/demo', name))),
)
/** Each stage: the stage its input comes from, and its output for one input. */
const STAGES = {
  vision: { from: 'pixels', run: ({ sessions }, x) => runVision(sessions[VISION.graph], x) },
  queries: {
    from: 'vision',
    async run({ sessions, queryTokenizer, manifest }, x) {
      const texts = queryTokenizer && [queryTokenizer.encode(manifest.prompt.caption)]
      return (await runQueries(sessions[QUERIES.graph], x, [QUERIES.prefix], texts))[QUERIES.prefix]
    },
  },
  logits: {
    from: 'queries',
    async run({ language, tokenizer, manifest: { prompt } }, prefix) {
      const ids = language.start(prompt.caption === '' ? [] : tokenizer.encode(prompt.caption))
      const logits = await language.allLogits({ prefix, ids })
      return Tensor.float32(Float32Array.from(logits.flatMap((row) => [...row])), [])
    },
  },
}

const truth = await stages(reference)
const rows = []
for (const folder of others) {
  const found = await stages(folder, truth)
  for (const stage of Object.keys(STAGES)) {
    rows.push({
      artifact: basename(resolve(folder)),
      stage,
      alone: percent(await error(found.alone[stage], truth.path[stage])),
      'whole path': percent(await error(found.path[stage], truth.path[stage])),
    })
  }
}
console.table(rows)

/** Returns the outputs of each stage: `path` from the artifact's own inputs, `alone` from the reference's. */
async function stages(folder, reference) {
  const model = await openModel(folder)
  const pixels = async (file) => {
    const { data, dims } = toPixels(await decode(file, AS_SEEN), model.preprocessorConfig)
    return Tensor.float32(data, dims)
  }
  const path = { pixels: await Promise.all(pictures.map(pixels)) }
  const alone = {}
  for (const [stage, { from, run }] of Object.entries(STAGES)) {
    const each = async (inputs) => {
      const outputs = []
      for (const input of inputs) outputs.push(await run(model, input))
      return outputs
    }
    path[stage] = await each(path[from])
    if (reference) alone[stage] = await each(reference.path[from])
  }
  await model.close()
  return { path, alone }
}

async function error(ours, theirs) {
  let difference = 0
  let norm = 0
  for (const [p, tensor] of ours.entries()) {
    const [found, exact] = [await tensor.floats(), await theirs[p].floats()]
    for (let i = 0; i < exact.length; i++) {
      difference += (found[i] - exact[i]) ** 2
      norm += exact[i] ** 2
    }
  }
  return Math.sqrt(difference / norm)
}

function percent(value) {
  return `${(100 * value).toFixed(2)} %`
}

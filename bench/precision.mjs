// Relative error of each stage at lower precision: artifacts of one checkpoint against its fp32 artifact.
//
//   node bench/random-checkpoint.mjs --out /tmp/opt-2.7b
//   for p in fp32 int8 int4; do npx glimpse build /tmp/opt-2.7b --out /tmp/opt-2.7b-$p --precision $p; done
//   node bench/precision.mjs /tmp/opt-2.7b-fp32 /tmp/opt-2.7b-int8 /tmp/opt-2.7b-int4
//
// Prints two relative errors |a - b| / |b| over three pictures: of the stage alone, given fp32 inputs, and of the whole path
// up to and including the stage.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openArtifact } from '../dist/artifact/open.js'
import { AS_SEEN, decode } from '../dist/image/decode.js'
import { parsePreprocessorConfig, toPixels } from '../dist/image/pixels.js'
import { Decoder } from '../dist/run/decoder.js'
import { openSession } from '../dist/run/session.js'

const PICTURES = ['guitars.png', 'crab-and-helicopter.png', 'train-on-white.png']
const [reference, ...others] = process.argv.slice(2)
if (!reference || others.length === 0) {
  console.error(
    'Expected the fp32 artifact and one or more others: node bench/precision.mjs <fp32> <int8> <int4>.',
  )
  process.exit(2)
}

const { preprocessor } = await openArtifact(reference)
const pictures = await Promise.all(
  PICTURES.map((name) => readFile(join(import.meta.dirname, '../models/demo', name))),
)
const pixels = await Promise.all(
  pictures.map(async (file) => toPixels(await decode(file, AS_SEEN), parsePreprocessorConfig(preprocessor))),
)
const STAGES = {
  vision: {
    from: 'pixels',
    run: async (session, x) => (await session.run({ pixels: x }, ['vision'])).vision,
  },
  queries: {
    from: 'vision',
    run: async (session, x) => (await session.run({ vision: x }, ['prefix'])).prefix,
  },
  language: {
    from: 'queries',
    run: async (language, { data }, manifest) => {
      const row = { prefix: data, ids: [manifest.tokens.bos_token_id] }
      const logits = await Decoder.allLogits({ manifest, language }, row)
      return { data: Float32Array.from(logits.flatMap((row) => [...row])), dims: [] }
    },
  },
}

const truth = await stages(reference)
const rows = []
for (const folder of others) {
  const { precision } = await openArtifact(folder)
  const found = await stages(folder, truth)
  for (const stage of Object.keys(STAGES)) {
    rows.push({
      precision,
      stage: stage === 'language' ? 'logits' : stage,
      alone: error(found.alone[stage], truth.path[stage]).toFixed(4),
      'whole path': error(found.path[stage], truth.path[stage]).toFixed(4),
    })
  }
}
console.table(rows)

/** Returns the outputs of each stage: `path` from the artifact's own inputs, `alone` from the reference's. */
async function stages(folder, reference) {
  const manifest = await openArtifact(folder)
  const path = { pixels }
  const alone = {}
  for (const [stage, { from, run }] of Object.entries(STAGES)) {
    const session = await openSession(folder, stage)
    const each = async (inputs) => {
      const outputs = []
      for (const input of inputs) outputs.push(await run(session, input, manifest))
      return outputs
    }
    path[stage] = await each(path[from])
    if (reference) alone[stage] = await each(reference.path[from])
    await session.close()
  }
  return { path, alone }
}

function error(ours, theirs) {
  let difference = 0
  let norm = 0
  ours.forEach(({ data }, p) => {
    for (let i = 0; i < data.length; i++) {
      difference += (data[i] - theirs[p].data[i]) ** 2
      norm += theirs[p].data[i] ** 2
    }
  })
  return Math.sqrt(difference / norm)
}

// Relative error of each stage at int8 and int4, with planted outliers and without, on random weights of full width and few
// layers. What is planted: OUTLIERS in random-checkpoint.mjs. The columns: precision.mjs.
//
//   node bench/outliers.mjs                       6 vision and 4 language layers; 12 GB in the system's temporary folder
//   node bench/outliers.mjs --vision-layers 39    the whole vision tower
//   node bench/outliers.mjs --model instructblip-vicuna-7b --layers 3

import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { buildArtifact } from '../dist/builder/build.js'
import { PRECISIONS } from '../dist/quantize/recipes.js'

const { values: options } = parseArgs({
  options: {
    model: { type: 'string', default: 'opt-2.7b' },
    layers: { type: 'string', default: '4' },
    'vision-layers': { type: 'string', default: '6' },
    target: { type: 'string', default: 'cpu' },
  },
})

function run(script, ...args) {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, script), ...args], {
    stdio: ['ignore', script === 'precision.mjs' ? 'inherit' : 'ignore', 'inherit'],
  })
  if (status !== 0) process.exit(status ?? 1)
}

const room = await mkdtemp(join(tmpdir(), 'glimpse-outliers-'))
try {
  const sizes = [
    '--model',
    options.model,
    '--layers',
    options.layers,
    '--vision-layers',
    options['vision-layers'],
  ]
  for (const [kind, flags] of [
    ['without', []],
    ['with', ['--outliers']],
  ]) {
    const checkpoint = join(room, 'checkpoint')
    run('random-checkpoint.mjs', ...sizes, ...flags, '--out', checkpoint)
    const artifacts = PRECISIONS.map((precision) => join(room, precision))
    for (const [i, precision] of PRECISIONS.entries()) {
      await buildArtifact(checkpoint, artifacts[i], { precision, target: options.target, trial: false })
    }
    console.log(`${kind} outliers`)
    run('precision.mjs', ...artifacts)
    for (const folder of [checkpoint, ...artifacts]) await rm(folder, { recursive: true })
  }
} finally {
  await rm(room, { recursive: true, force: true })
}

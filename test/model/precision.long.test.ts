// Error of every stage at int8 and int4 against fp32, over widths that fill blocks and widths that do not. A wrong
// layout, zero point or scale gives an error near 1 or more.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { QUERIES, VISION } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { toPixels } from '../../src/image/pixels.ts'
import type { Precision } from '../../src/quantize/recipes.ts'
import { openModel } from '../../src/run/model.ts'
import { runQueries } from '../../src/run/queries.ts'
import { Tensor } from '../../src/run/tensor.ts'
import { runVision } from '../../src/run/vision.ts'
import { noise } from '../image/noise.ts'
import { configWith, makeCheckpoint } from '../make-checkpoint.ts'
import { relativeError } from '../tensors.ts'

type Stages = Record<'vision' | 'queries' | 'prefix' | 'logits', Float32Array>

/** Two layers of random weights: an 8-bit product has an error of about 1 %, a 4-bit product of about 10 %. */
const BOUNDS: Record<'int8' | 'int4', Record<keyof Stages, number>> = {
  int8: { vision: 0.05, queries: 0.05, prefix: 0.05, logits: 0.05 },
  int4: { vision: 0.05, queries: 0.05, prefix: 0.05, logits: 0.2 },
}
/** A smaller error means that the weights were not quantized. */
const SAME = 1e-4

const IDS = [2, 68, 268, 295, 29]

async function stagesOf(checkpoint: string, precision: Precision): Promise<Stages> {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  try {
    await buildArtifact(checkpoint, join(folder, 'out'), { precision })
    const model = await openModel(join(folder, 'out'), { threads: 1 })
    const { sessions, language } = model
    const { data, dims } = toPixels(noise(40, 30, 1), model.preprocessorConfig)
    const vision = await runVision(sessions[VISION.graph]!, Tensor.float32(data, dims))
    const names = [QUERIES.queries, QUERIES.prefix]
    const outputs = await runQueries(sessions[QUERIES.graph]!, vision, names)
    const [queries, prefix] = names.map((name) => outputs[name]!)
    const logits = await language!.allLogits({ prefix: prefix!, ids: IDS })
    await model.close()
    return {
      vision: await vision.floats(),
      queries: await queries!.floats(),
      prefix: await prefix!.floats(),
      logits: Float32Array.from(logits.flatMap((scores) => [...scores])),
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Widths of vision, Q-Former and language model, and of their MLPs. */
const widths = (
  vision: [number, number],
  qformer: [number, number],
  text: [number, number],
  tied = true,
) => ({
  vision_config: { hidden_size: vision[0], intermediate_size: vision[1], num_attention_heads: 2 },
  qformer_config: { hidden_size: qformer[0], intermediate_size: qformer[1], num_attention_heads: 2 },
  text_config: {
    hidden_size: text[0],
    word_embed_proj_dim: text[0],
    ffn_dim: text[1],
    num_attention_heads: 2,
    tie_word_embeddings: tied,
  },
})

test.each([
  ['less than one block', widths([24, 40], [16, 24], [24, 28])],
  ['whole blocks, so that the embedding is read in blocks', widths([64, 128], [32, 64], [64, 96])],
  ['one block', widths([32, 32], [32, 32], [32, 32])],
  ['a partly filled last block', widths([40, 72], [48, 100], [72, 136])],
  ['odd widths of MLPs', widths([64, 33], [32, 65], [96, 127])],
  ['an untied LM head', widths([64, 64], [32, 64], [64, 96], false)],
])('int8 and int4 stay near fp32 at every stage: %s', async (_, edits) => {
  const checkpoint = await makeCheckpoint(await configWith(edits))
  try {
    const exact = await stagesOf(checkpoint, 'fp32')
    for (const [precision, bounds] of Object.entries(BOUNDS)) {
      const stages = await stagesOf(checkpoint, precision as Precision)
      for (const [stage, bound] of Object.entries(bounds) as [keyof Stages, number][]) {
        const error = relativeError(stages[stage], exact[stage])
        expect(error, `${precision} ${stage}`).toBeLessThan(bound)
        expect(error, `${precision} ${stage}`).toBeGreaterThan(SAME)
      }
    }
  } finally {
    await rm(checkpoint, { recursive: true })
  }
})

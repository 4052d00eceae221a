// Which weight is stored how, and why: data, one table per precision. `glimpse build --precision` chooses a table.
//
// Behind the reasons: published sweeps on BLIP-2 found vision tower and language model equally fragile, and one scale
// per tensor useless below 8 bits (gautomdas/blip2-coco, results/quantization_results.csv); times are of one ViT-g
// layer at [1, 257, 1408] on two cores with AVX-512, onnxruntime-node 1.30.

import { z } from 'zod'

/** Manifests hold it too: a change here raises FORMAT in artifact/contract.ts. */
export const formatSchema = z.discriminatedUnion('kind', [
  /** As it is. */
  z.strictObject({ kind: z.literal('float32') }),
  /** Signed 8-bit weights with one scale per output column; activations become 8 bits on the fly. */
  z.strictObject({ kind: z.literal('columns') }),
  /** `bits` per weight with one float scale per `block` neighbouring inputs of an output, fewer where the width asks for it. */
  z.strictObject({
    kind: z.literal('blocks'),
    bits: z.union([z.literal(4), z.literal(8)]),
    block: z.number().int().positive(),
  }),
])
export type Format = z.infer<typeof formatSchema>

export const PRECISIONS = ['fp32', 'int8', 'int4'] as const
export type Precision = (typeof PRECISIONS)[number]

interface Rule {
  /** Tested against the weight's path in the checkpoint; the first rule that matches decides. */
  weights: RegExp
  format: Format
  reason: string
}

const FLOAT32: Format = { kind: 'float32' }
const INT8_BLOCKS: Format = { kind: 'blocks', bits: 8, block: 128 }
const INT4_BLOCKS: Format = { kind: 'blocks', bits: 4, block: 128 }

const VISION: Rule = {
  weights: /^vision_model\.encoder\./,
  format: { kind: 'columns' },
  reason:
    'hundreds of patches share each weight, so arithmetic is the cost: 8-bit products took 65-70 ms a layer where float32 took 100 and block formats 115-160; on normally distributed data the error is 1.5 % a product',
}
/** DynamicQuantizeMatMul has no kernel for CUDA or WebGPU: there it would run on the CPU, with every picture's vectors crossing over. */
const VISION_ON_GPU: Rule = {
  weights: VISION.weights,
  format: INT8_BLOCKS,
  reason:
    'a GPU has a kernel for weights in blocks and none for 8-bit products; on the CPU a layer takes 160 ms so instead of 65-70',
}
const QUERIES: Rule = {
  weights: /^(qformer|language_projection)\./,
  format: INT8_BLOCKS,
  reason: 'a thirtieth of the weights: 4 bits would save little, and every answer passes through it',
}
const VOCABULARY: Rule = {
  weights: /^language_model\..*(embed_tokens|lm_head)\./,
  format: INT8_BLOCKS,
  reason: 'one table for reading and choosing words: errors here act on every token directly',
}

export const RECIPES: Record<Precision, readonly Rule[]> = {
  fp32: [],
  int8: [
    VISION,
    QUERIES,
    VOCABULARY,
    {
      weights: /^language_model\..*layers\./,
      format: INT8_BLOCKS,
      reason: 'weights only, by blocks: OPT has activation outliers that one scale per row cannot hold',
    },
  ],
  int4: [
    VISION,
    QUERIES,
    VOCABULARY,
    {
      weights: /^language_model\..*layers\./,
      format: INT4_BLOCKS,
      reason:
        'each token reads every weight once, so speed is size: with the sums that the kernel keeps beside the scales, blocks of 32 come to 6 bits a weight and blocks of 128 to 4.5, and a token of opt-2.7b took 59-67 ms instead of 74-93 (graph alone, two cores); each block has the scale and zero point that fit it best. On random weights the error of the logits is 24.1 % where blocks of 32 gave 20.7 %; the embedded model answers as many questions right with either',
    },
  ],
}

/** What an artifact is to run on: anything does run anywhere, but not as fast. */
export const TARGETS = ['cpu', 'gpu'] as const
export type Target = (typeof TARGETS)[number]

export function recipeFor(precision: Precision, target: Target = 'cpu'): readonly Rule[] {
  const rules = RECIPES[precision]
  return target === 'cpu' ? rules : rules.map((rule) => (rule === VISION ? VISION_ON_GPU : rule))
}

/** What a matrix of this path is stored as; float32 if no rule names it. Norms, biases and positions always are. */
export function formatOf(precision: Precision, path: string, target?: Target): Format {
  return recipeFor(precision, target).find((rule) => rule.weights.test(path))?.format ?? FLOAT32
}

// A weight's path -> its storage format and the reason: one recipe for each family of architectures, with a table for each
// precision (`glimpse build --precision`).
//
// Published sweeps on BLIP-2 found vision tower and language model equally sensitive, and one scale per tensor useless
// below 8 bits (gautomdas/blip2-coco, results/quantization_results.csv). Times in the reasons are of one ViT-g layer at
// [1, 257, 1408] on two cores with AVX-512, onnxruntime-node 1.30.

export type Format = (
  | /** Not quantized. */
  { kind: 'float32' }
  /** Signed 8-bit weights with one scale per output; activations get 8 bits with one scale per token (or patch) at run time. */
  | { kind: 'tokens' }
  /** `bits` per weight, one float scale per `block` consecutive inputs of an output; smaller blocks where these do not divide the width. */
  | { kind: 'blocks'; bits: 4 | 8; block: number }
) & {
  /**
   * From 0 to 1: how much the channels that the weight reads get even sizes at build, where the model file allows it. A share
   * of each channel's size goes into the weight: smoothing.ts. Absent: none.
   */
  smooth?: number
  /** How many of these channels, the largest ones, are multiplied in float32, by a product of their own. Absent: none. */
  large?: number
}

export const PRECISIONS = ['fp32', 'int8', 'int4'] as const
export type Precision = (typeof PRECISIONS)[number]

export interface Rule {
  /** Matches the weight's path in the checkpoint. The first rule that matches applies. */
  weights: RegExp
  format: Format
  reason: string
}

const FLOAT32: Format = { kind: 'float32' }
const INT8_BLOCKS: Format = { kind: 'blocks', bits: 8, block: 128 }
/** Strengths from 0.25 to 0.5 gave the same errors. */
const SMOOTH = { smooth: 0.4 }
const INT8_SMOOTH: Format = { ...INT8_BLOCKS, ...SMOOTH, large: 16 }
const INT4_BLOCKS: Format = { kind: 'blocks', bits: 4, block: 256 }
const INT4_SMOOTH: Format = { ...INT4_BLOCKS, ...SMOOTH, large: 16 }

const VISION: Rule = {
  weights: /^vision_model\.encoder\./,
  format: { kind: 'tokens', ...SMOOTH },
  reason:
    "hundreds of patches share each weight, so arithmetic is the cost: a layer took 65-70 ms with 8-bit products, 100 ms in float32 and 115-160 ms in block formats. One scale for each patch: a patch with large values takes no precision from the others, and a picture does not depend on the others of its run. Smoothing: with outliers planted into the whole tower (bench/outliers.mjs) the error is 2.9 %, without outliers 2.6 %; without smoothing, and with one scale for all patches, six layers were 7.0 % off. Large channels in float32, as fc2 has them, took 7 % of the tower's time here and changed nothing",
}
const VISION_FC2: Rule = {
  weights: /^vision_model\.encoder\..*\.mlp\.fc2\.weight$/,
  format: { kind: 'tokens', large: 64 },
  reason:
    'as the others; its large channels are multiplied in float32, because factors cannot pass through GELU',
}
/** MatMulIntegerToFloat has no kernel for CUDA or WebGPU. onnxruntime would run it on the CPU and copy activations both ways. */
const ON_GPU =
  'a GPU has a kernel for weights in blocks and none for 8-bit products; on the CPU a layer takes 160 ms in this format instead of 65-70 ms'
const QUERIES: Rule = {
  weights: /^(qformer|language_projection)\./,
  format: { kind: 'tokens' },
  reason:
    'a thirtieth of the weights: 4 bits would save little, and every answer depends on them. One scale for each token: sums of integers are exact, so the queries of a picture are the same bits in any company. In blocks the last of 257 patches differs by 1e-7 on a CPU with VNNI, where the kernel takes rows in pairs, and the queries of opt-2.7b take 53 ms instead of 35',
}
const VOCABULARY: Rule = {
  weights: /^language_model\..*(embed_tokens|lm_head)\./,
  format: INT8_BLOCKS,
  reason: 'input embedding and LM head are one weight: its errors affect every token directly',
}

const UNQUANTIZED: Rule = {
  weights:
    /(embed_positions|position_embedding|patch_embedding|class_embedding|query_tokens)(\.\w+)?$|norm\w*\.(weight|bias)$|bias$/i,
  format: FLOAT32,
  reason:
    'added to or multiplied with activations once, not a product of matrices: few bytes, and no kernel for fewer bits',
}

/** The rules of each precision. */
export type Recipe = Readonly<Record<Precision, readonly Rule[]>>

/** The precisions differ in the rule for the language model's layers only. */
function recipe(
  rules: readonly Rule[],
  layers: Record<'int8' | 'int4', Omit<Rule, 'weights'>>,
  weights: RegExp,
): Recipe {
  return {
    fp32: [],
    int8: [...rules, { weights, ...layers.int8 }],
    int4: [...rules, { weights, ...layers.int4 }],
  }
}

export const BLIP2_OPT = recipe(
  [VISION_FC2, VISION, QUERIES, VOCABULARY, UNQUANTIZED],
  {
    int8: {
      format: INT8_SMOOTH,
      reason:
        'weights only, by blocks: OPT has activation outliers that one scale per row cannot hold. Smoothing and large channels: with planted outliers (bench/outliers.mjs) the error of three layers is 1.6 %, as without outliers',
    },
    int4: {
      format: INT4_SMOOTH,
      reason:
        'each token reads every weight once, so size decides speed: with the sums that the kernel keeps beside the scales, blocks of 32 need 6 bits a weight, of 128 4.5 and of 256 4.25. A token of opt-2.7b took 59-67 ms with blocks of 128 instead of 74-93 ms with 32 (graph alone, two cores); with 256 it takes 5 % less again, and a prompt 10 % less. Each block has the scale and zero point that fit it best. On random weights the error of three layers is 16.3 %, with blocks of 128 15.9 %; the embedded model answers as many questions right with any. Smoothing and large channels: with planted outliers (bench/outliers.mjs) it is 14.4 %; without large channels 16.9 %',
    },
  },
  /^language_model\..*layers\./,
)

const T5_VOCABULARY: Rule = {
  weights: /^language_model\.(shared|lm_head|(en|de)coder\.embed_tokens)\./,
  format: INT8_BLOCKS,
  reason:
    'the LM head is a matrix of its own in Flan-T5, and each token reads all of it: its errors affect every token directly',
}
const T5_DISTANCES: Rule = {
  weights: /relative_attention_bias\.weight$/,
  format: FLOAT32,
  reason: 'added to the scores of all blocks; a few hundred numbers',
}

const T5_ENCODER: Rule = {
  weights: /^language_model\.encoder\.block\./,
  format: { kind: 'tokens', ...SMOOTH, large: 16 },
  reason:
    'it reads a whole question at once, so arithmetic is the cost, and it never decodes: an encoder of flan-t5-xl takes 229 ms for 48 positions, with blocks of 8 bits 358 ms, of 4 bits 318 ms',
}
const T5_ENCODER_WO: Rule = {
  weights: /^language_model\.encoder\.block\..*\.wo\./,
  format: { kind: 'tokens', ...SMOOTH, large: 64 },
  reason: 'as the rest of the encoder; its input, the gated product, reaches 100,000 in Flan-T5',
}
/** The second matrix of an MLP. Its input, the gated product, reaches 100,000 in Flan-T5. */
const T5_WO: Rule = {
  weights: /^language_model\.decoder\.block\..*\.wo\./,
  format: { kind: 'blocks', bits: 8, block: 32, ...SMOOTH, large: 16 },
  reason:
    'other 8-bit and 4-bit versions gave nonsense until this matrix was finer (transformers #20287; GPTQ-for-LLaMa #157). An outlier rounds the activations of its own block away: on random weights with four channels 300 times larger the error of the encoder at int8 was 21 % with blocks of 32, 37 % with 128, 10 % in float32; a matrix of flan-t5-xl takes 0.8 ms, 0.3 ms, and 64 ms with 8-bit weights and activations in float32',
}

export const BLIP2_T5 = recipe(
  [VISION_FC2, VISION, QUERIES, T5_VOCABULARY, T5_DISTANCES, UNQUANTIZED, T5_ENCODER_WO, T5_ENCODER, T5_WO],
  {
    int8: {
      format: INT8_SMOOTH,
      reason: 'weights only, by blocks: T5 has activation outliers that one scale per row cannot hold',
    },
    int4: {
      format: INT4_SMOOTH,
      reason:
        'each token reads every weight of the decoder once, so size decides speed; smoothing and large channels as in blip2-opt. On random weights (width 128, three layers) with four neurons 300 times larger the error of the logits was 9 to 15 %, without them 12 to 13 %; before smoothing it was 98 %',
    },
  },
  /^language_model\.decoder\.block\./,
)

export const BLIP2_LLAMA = recipe(
  [VISION_FC2, VISION, QUERIES, VOCABULARY, UNQUANTIZED],
  {
    int8: {
      format: INT8_SMOOTH,
      reason:
        'weights only, by blocks: LLaMA has activation outliers that one scale per row cannot hold. Smoothing: with outliers planted into three layers of vicuna-7b (bench/outliers.mjs) the error of the logits is 1.9 %, without them 2.0 %',
    },
    int4: {
      format: INT4_SMOOTH,
      reason:
        'each token reads every weight once, so size decides speed: see the recipe of OPT. Smoothing: with planted outliers the error of the logits is 17.8 %, without them 20.7 %',
    },
  },
  /^language_model\.model\.layers\./,
)

const MATCHING_TEXT: Rule = {
  weights: /^embeddings\.word_embeddings\./,
  format: INT8_BLOCKS,
  reason: 'a table of which each text reads a few rows: its size is what it costs',
}
const MATCHING_HEADS: Rule = {
  weights: /^((vision|text)_projection|itm_head|embeddings\.position_embeddings)\./,
  format: FLOAT32,
  reason: 'two thousandths of the weights, and every score is computed with them',
}
const MATCHING = [VISION_FC2, VISION, QUERIES, MATCHING_TEXT, MATCHING_HEADS, UNQUANTIZED]

/** No weight is stored with 4 bits: nine tenths of them are the vision tower's, whose cost is arithmetic. */
export const BLIP2_ITM: Recipe = { fp32: [], int8: MATCHING, int4: MATCHING }

/** What an artifact is built for. It runs on the other target too, but slower. */
export const TARGETS = ['cpu', 'gpu'] as const
export type Target = (typeof TARGETS)[number]

/** The rules of a precision, in order. Default target: cpu. */
export function rulesOf(recipe: Recipe, precision: Precision, target: Target = 'cpu'): readonly Rule[] {
  const rules = recipe[precision]
  if (target === 'cpu') return rules
  return rules.map((rule) =>
    rule.format.kind === 'tokens'
      ? { ...rule, format: { ...rule.format, ...INT8_BLOCKS }, reason: ON_GPU }
      : rule,
  )
}

/**
 * The format of the weight at this path. At fp32 all weights are float32; at other precisions each needs a rule, because a
 * matrix that no rule names would be stored at its full size.
 */
export function formatOf(rules: readonly Rule[], precision: Precision, path: string): Format {
  if (precision === 'fp32') return FLOAT32
  const rule = rules.find(({ weights }) => weights.test(path))
  if (rule) return rule.format
  throw new Error(
    `Expected a rule for ${path} in the recipe ${precision} but none matches. Add one to quantize/recipes.ts.`,
  )
}

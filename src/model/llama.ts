// LLaMA, the language model: image embeddings [B, Q, D] and token ids [B, T] -> logits [B, K, V].
//
//   ids -> embedding -> prefix in front -> layers x (norm, attention, +, norm, gated MLP, +) -> norm -> LM head
//
// A position turns pairs of a head's numbers in queries and keys by an angle (RoPE), so that their product depends on the
// distance. Touvron et al. 2023 (arXiv 2302.13971); Su et al. 2021 (arXiv 2104.09864); transformers' modeling_llama.py.
// Vicuna is LLaMA. S = Q + T, the positions of this run; E = heads * head size, Ekv the same of keys and values.

import { z } from 'zod'
import type { DecoderDescription } from '../artifact/contract.ts'
import type { Value } from '../onnx/graph.ts'
import { MICROSOFT } from '../onnx/graph.ts'
import { constant } from '../quantize/matrix.ts'
import { activation, layers, rejecting, size } from './config.ts'
import { type DecoderInputs, type DecoderOutputs, keptPositions, vocabularyOf } from './decoder.ts'
import { activate, fusedLinear, type LayerKV, linear, multiHeadAttention, rmsNorm } from './layers.ts'
import { causalMask, countedPositions, lastPositions, maskedBias } from './masks.ts'
import type { Part } from './part.ts'

/** LlamaConfig.default_theta */
const DEFAULT_THETA = 10_000
/**
 * Positions that every rotary table has. transformers has no limit: generate() goes past max_position_embeddings if
 * max_new_tokens asks for it, and references of small models do.
 */
const LEAST_POSITIONS = 2_048

/** Files of LLaMA's first months have -1 for a token that the model lacks. */
const tokenId = z
  .number()
  .int()
  .nullish()
  .transform((id) => (id != null && id >= 0 ? id : null))
const rotary = z
  .looseObject({
    rope_theta: z.number().positive().nullish(),
    rope_type: z.string().nullish(),
    /** The name of rope_type in older files. */
    type: z.string().nullish(),
  })
  .nullish()

/** `text_config`; defaults are those of configuration_llama.py. */
export const llamaConfig = z
  .object({
    vocab_size: size.default(32000),
    hidden_size: size.default(4096),
    intermediate_size: size.default(11008),
    num_hidden_layers: layers.default(32),
    num_attention_heads: size.default(32),
    num_key_value_heads: size.nullish(),
    head_dim: size.nullish(),
    hidden_act: activation.default('silu'),
    max_position_embeddings: size.default(2048),
    rms_norm_eps: z.number().positive().default(1e-6),
    attention_bias: z.boolean().default(false),
    mlp_bias: z.boolean().default(false),
    tie_word_embeddings: z.boolean().default(false),
    // transformers 5 writes rope_parameters; 4 wrote rope_theta and rope_scaling; files of 2023 have none.
    rope_parameters: rotary,
    rope_scaling: rotary,
    rope_theta: z.number().positive().nullish(),
    pad_token_id: tokenId,
    bos_token_id: tokenId.default(1),
    eos_token_id: z
      .union([z.number().int(), z.array(z.number().int())])
      .nullable()
      .default(2)
      .transform((ids) => [ids ?? []].flat().filter((id) => id >= 0)),
  })
  .transform(({ rope_parameters, rope_scaling, rope_theta, ...text }) => {
    const rope = rope_scaling ?? rope_parameters
    return {
      ...text,
      num_key_value_heads: text.num_key_value_heads ?? text.num_attention_heads,
      head_dim: text.head_dim ?? Math.floor(text.hidden_size / text.num_attention_heads),
      bos_token_id: text.bos_token_id ?? 1,
      rope_type: rope?.rope_type ?? rope?.type ?? 'default',
      rope_theta: rope?.rope_theta ?? rope_theta ?? DEFAULT_THETA,
    }
  })
  .superRefine((text, context) => {
    const { hidden_size: D, num_attention_heads: heads, num_key_value_heads: groups, head_dim } = text
    const reject = rejecting(context)
    reject(D % heads !== 0, `hidden_size ${D} is not a multiple of num_attention_heads ${heads}`)
    reject(
      heads % groups !== 0,
      `num_attention_heads ${heads} is not a multiple of num_key_value_heads ${groups}`,
    )
    reject(head_dim % 2 !== 0, `head_dim ${head_dim} is odd, but rotary positions turn pairs`)
    reject(
      text.rope_type !== 'default',
      `the rotary positions (rope_parameters, rope_scaling) are of the type "${text.rope_type}"; only "default" can be built`,
    )
  })
export type LlamaConfig = z.output<typeof llamaConfig>

/** These token ids come from config.json alone, as describeOpt says. */
export function describeLlama(config: LlamaConfig, image_token_id: number | null): DecoderDescription {
  const { bos_token_id, pad_token_id, eos_token_id } = config
  return {
    kind: 'decoder',
    width: config.hidden_size,
    vocabulary: config.vocab_size,
    layers: config.num_hidden_layers,
    heads: config.num_key_value_heads,
    head_size: config.head_dim,
    positions: config.max_position_embeddings,
    bos_token_id,
    pad_token_id,
    eos_token_id,
    image_token_id,
  }
}

/** What all layers share: the positions of this run and the turns that belong to them. */
interface Places {
  /** [B, S] */
  positions: Value
  /** [positions, head size / 2] each. */
  cos: Value
  sin: Value
  /** [B, 1, S, C + S] */
  bias: Value
}

/** `part` is at `language_model`. */
export function llama(part: Part, inputs: DecoderInputs, config: LlamaConfig): DecoderOutputs {
  const { hidden_size: D, vocab_size: V, tie_word_embeddings: isTied } = config
  const model = part.at('model')
  // Until the middle of 2023 transformers saved this buffer.
  model.weights.ignore('rotary_emb.inv_freq')
  const vocabulary = vocabularyOf(part, { embedding: 'model.embed_tokens', sizes: [V, D], isTied })
  let x = model.op('Concat', [inputs.prefix, vocabulary.embed(inputs.ids)], { axis: 1 }) // [B, S, D]
  const length = model.op('Shape', [x], { start: 1, end: 2 }) // [1]
  const masked = model.at('causal_bias')
  const bias = maskedBias(masked, masked.g.scalar(0), causalMask(masked, inputs.mask, length)) // [B, 1, S, C + S]
  const places = { ...turns(model.at('rotary_emb'), inputs.mask, length, config), bias }

  const added: LayerKV[] = []
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const block = model.at(`layers.${i}`)
    smoothChannels(block)
    const attended = attention(block, x, places, inputs.past[i]!, config)
    added.push(attended.added)
    x = feedForward(block, attended.x, config) // [B, S, D]
  }
  const normed = norm(model.at('norm'), keptPositions(model, x, inputs.keep), config) // [B, K, D]
  return { logits: vocabulary.project(normed), added } // logits [B, K, V]
}

/** Which channels of a layer are read by products alone. */
function smoothChannels({ weights }: Part): void {
  const inputs = ['q_proj', 'k_proj', 'v_proj'].map((step) => `self_attn.${step}.weight`)
  weights.smooth(['input_layernorm.weight'], inputs)
  weights.smooth(['post_attention_layernorm.weight'], ['mlp.gate_proj.weight', 'mlp.up_proj.weight'])
  const both = (step: string) => [`${step}.weight`, `${step}.bias`]
  // The activation multiplies what up_proj gives, whatever its size.
  weights.smooth(both('mlp.up_proj'), ['mlp.down_proj.weight'], both('mlp.gate_proj'))
}

/** The position of each token of this run, counted from 0 by the mask, and what it turns by. */
function turns(part: Part, mask: Value, length: Value, config: LlamaConfig): Omit<Places, 'bias'> {
  const { g } = part
  const counted = lastPositions(part, countedPositions(part, mask), length) // [B, S]: 1, 2, ...; 0 where masked
  const fromZero = g.op('Max', [g.op('Sub', [counted, g.scalar(1, 'int64')]), g.scalar(0, 'int64')]) // [B, S]
  const count = Math.max(config.max_position_embeddings, LEAST_POSITIONS)
  const { cos, sin } = rotaryTables(config.rope_theta, config.head_dim, count)
  const dims = [count, config.head_dim / 2]
  return {
    positions: fromZero,
    cos: part.stored('cos', constant(dims, cos)),
    sin: part.stored('sin', constant(dims, sin)),
  }
}

/**
 * Cosine and sine [positions, head size / 2] of each position's angles. Each step is rounded to float32, as in
 * LlamaRotaryEmbedding: in float64 the cosines differ by 1e-4 at position 2,047.
 */
export function rotaryTables(
  theta: number,
  headSize: number,
  positions: number,
): { cos: Float32Array; sin: Float32Array } {
  const half = headSize / 2
  const frequencies = Float32Array.from(
    { length: half },
    (_, i) => 1 / Math.fround(theta ** Math.fround((2 * i) / headSize)),
  )
  const angles = Float32Array.from(
    { length: positions * half },
    (_, at) => Math.floor(at / half) * frequencies[at % half]!,
  )
  return { cos: angles.map(Math.cos), sin: angles.map(Math.sin) }
}

/** x + attention(norm(x)): x [B, S, D] -> x [B, S, D], and this run's keys and values [B, S, Ekv] each. */
function attention(
  block: Part,
  x: Value,
  places: Places,
  past: LayerKV,
  config: LlamaConfig,
): { x: Value; added: LayerKV } {
  const { hidden_size: D, num_attention_heads: heads, num_key_value_heads: groups, head_dim } = config
  const part = block.at('self_attn')
  part.weights.ignore('rotary_emb.inv_freq')
  const [E, Ekv] = [heads * head_dim, groups * head_dim]
  const withBias = { bias: config.attention_bias }
  const normed = norm(block.at('input_layernorm'), x, config) // [B, S, D]
  const [q, k, v] =
    heads === groups
      ? fusedLinear(part, ['q_proj', 'k_proj', 'v_proj'], normed, [D, E], withBias) // 3 x [B, S, E]
      : [
          linear(part.at('q_proj'), normed, [D, E], withBias), // [B, S, E]
          ...fusedLinear(part, ['k_proj', 'v_proj'], normed, [D, Ekv], withBias), // 2 x [B, S, Ekv]
        ]
  const turned = turn(part.at('q_proj'), q!, heads, places) // [B, S, E]
  const key = turn(part.at('k_proj'), k!, groups, places) // [B, S, Ekv]
  const [keys, values] = [forEachHead(part, key, config), forEachHead(part, v!, config)] // 2 x [B, S, E]
  const pastOfHeads = {
    key: cacheForEachHead(part, past.key, config), // [B, heads, C, head size]
    value: cacheForEachHead(part, past.value, config), // [B, heads, C, head size]
  }
  const options = { bias: places.bias, past: pastOfHeads }
  const attended = multiHeadAttention(part, turned, keys, values, heads, options) // [B, S, E]
  const projected = linear(part.at('o_proj'), attended, [E, D], withBias) // [B, S, D]
  return { x: block.op('Add', [x, projected]), added: { key, value: v! } }
}

/** x [B, S, heads * head size], turned by the positions. The first half of a head's numbers are pairs with the second. */
function turn(part: Part, x: Value, heads: number, { positions, cos, sin }: Places): Value {
  const attributes = { num_heads: heads, interleaved: 0 }
  return part.op('RotaryEmbedding', [x, positions, cos, sin], attributes, MICROSOFT)
}

/** Keys or values of this run, repeated for the heads of queries that share them. [B, S, Ekv] -> [B, S, E] */
function forEachHead(part: Part, x: Value, config: LlamaConfig): Value {
  const { num_attention_heads: heads, num_key_value_heads: groups, head_dim } = config
  if (heads === groups) return x
  const { g } = part
  const grouped = g.op('Reshape', [x, g.int64(0, 0, groups, head_dim)]) // [B, S, groups, head size]
  const repeated = g.op('Gather', [grouped, sharedBy(part, config)], { axis: 2 }) // [B, S, heads, head size]
  return g.op('Reshape', [repeated, g.int64(0, 0, heads * head_dim)]) // [B, S, E]
}

/** The same of the KV cache. [B, groups, C, head size] -> [B, heads, C, head size] */
function cacheForEachHead(part: Part, x: Value, config: LlamaConfig): Value {
  if (config.num_attention_heads === config.num_key_value_heads) return x
  return part.op('Gather', [x, sharedBy(part, config)], { axis: 1 })
}

/** For each head of queries the head of keys and values that it reads. */
function sharedBy({ g }: Part, { num_attention_heads: heads, num_key_value_heads: groups }: LlamaConfig) {
  return g.int64(...Array.from({ length: heads }, (_, head) => Math.floor(head / (heads / groups)))) // [heads]
}

/** x + MLP(norm(x)): x [B, S, D] -> [B, S, D] */
function feedForward(block: Part, x: Value, config: LlamaConfig): Value {
  const { hidden_size: D, intermediate_size: F, hidden_act, mlp_bias } = config
  const part = block.at('mlp')
  const normed = norm(block.at('post_attention_layernorm'), x, config) // [B, S, D]
  const [gate, up] = fusedLinear(part, ['gate_proj', 'up_proj'], normed, [D, F], { bias: mlp_bias }) // 2 x [B, S, F]
  const gated = part.op('Mul', [activate(part.at('gate_proj').g, gate!, hidden_act), up!]) // [B, S, F]
  return block.op('Add', [x, linear(part.at('down_proj'), gated, [F, D], { bias: mlp_bias })])
}

function norm(part: Part, x: Value, { hidden_size, rms_norm_eps }: LlamaConfig): Value {
  return rmsNorm(part, x, hidden_size, rms_norm_eps)
}

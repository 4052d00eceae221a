// The Q-Former: learned queries, a text, or both -> their hidden states. It is one BERT with two MLPs in each layer, one
// for queries and one for text. It has three uses:
//
//   queries            vision [B, P, Dv] -> [B, Q, D]: the image as Q vectors
//   queries and text   vision [I, P, Dv] and ids [B, T] -> [B, Q, D], which depends on the text (InstructBLIP, matching).
//                      Text b is about picture floor(b / (B / I))
//   text               ids [B, T] -> [B, T, D], without a picture (search)
//
// Post-norm as in BERT: each residual sum is normed. Queries and text attend to each other; only queries attend to the
// picture. transformers' modeling_blip_2.py (Blip2QFormerModel), modeling_instructblip.py; Li et al. 2023, section 3.1.

import { z } from 'zod'
import type { Value } from '../onnx/graph.ts'
import { DATA_TYPE } from '../onnx/proto.ts'
import { activation, layers, size } from './config.ts'
import { fusedLinear, layerNorm, linear, mlp, multiHeadAttention, tiedEmbedding } from './layers.ts'
import type { Part } from './part.ts'

/** `qformer_config`; defaults are those of configuration_blip_2.py. */
export const qformerConfig = z.object({
  vocab_size: size.default(30522),
  hidden_size: size.default(768),
  num_hidden_layers: layers.default(12),
  num_attention_heads: size.default(12),
  intermediate_size: size.default(3072),
  hidden_act: activation.default('gelu'),
  max_position_embeddings: size.default(512),
  layer_norm_eps: z.number().positive().default(1e-12),
  cross_attention_frequency: size.default(2),
  use_qformer_text_input: z.boolean().default(false),
})
export type QFormerConfig = z.output<typeof qformerConfig>

export interface QFormerInputs {
  /** Learned queries [1, Q, D], and what they attend to, [I, P, `width`]; I is B without a text. */
  queries?: { tokens: Value; count: number; vision: Value; width: number }
  /** int64 [B, T] each. `embeddings` holds `word_embeddings` and `position_embeddings`. */
  text?: { ids: Value; mask: Value; embeddings: Part }
}

/** Hidden states: of the queries [B, Q, D]; without queries, of the text [B, T, D]. */
interface QFormerOutput {
  queries?: Value
  text?: Value
}

/**
 * `part` is at `qformer`; `norm` is the layer norm of its input, which BLIP-2 keeps at `qformer.layernorm` and InstructBLIP
 * at `qformer.embeddings.layernorm`.
 */
export function qformer(part: Part, norm: Part, config: QFormerConfig, inputs: QFormerInputs): QFormerOutput {
  const { hidden_size: D, layer_norm_eps, num_hidden_layers, cross_attention_frequency } = config
  const embed = (x: Value) => layerNorm(norm, x, D, layer_norm_eps)
  let x: QFormerOutput = {
    queries: inputs.queries && repeated(part, embed(inputs.queries.tokens), inputs, D), // [B, Q, D]
    text: inputs.text && embed(embedText(inputs.text, config)), // [B, T, D]
  }
  const count = inputs.queries?.count ?? 0
  const keyMask = inputs.text && keyMaskOf(part, inputs.text.mask, x.queries) // [B, Q + T]
  for (let i = 0; i < num_hidden_layers; i++) {
    const hasCrossAttention = i % cross_attention_frequency === 0
    x = layer(part.at(`encoder.layer.${i}`), x, hasCrossAttention ? inputs.queries : undefined, keyMask, {
      config,
      count,
      isLast: i === num_hidden_layers - 1,
    })
  }
  return x
}

/** [1, Q, D] -> [B, Q, D] */
function repeated({ g }: Part, tokens: Value, { queries, text }: QFormerInputs, D: number): Value {
  const batch = g.op('Shape', [text?.ids ?? queries!.vision], { start: 0, end: 1 }) // [1]
  return g.op('Expand', [tokens, g.op('Concat', [batch, g.int64(queries!.count, D)], { axis: 0 })]) // [B, Q, D]
}

/** Word and position embeddings. Positions count padding too, so a text must be padded at its end. ids [B, T] -> [B, T, D] */
function embedText({ ids, embeddings }: NonNullable<QFormerInputs['text']>, config: QFormerConfig): Value {
  const { hidden_size: D, vocab_size, max_position_embeddings } = config
  const word = embeddings.at('word_embeddings')
  const words = tiedEmbedding(word, word.take('weight', [vocab_size, D])).embed(ids) // [B, T, D]
  const position = embeddings.at('position_embeddings')
  const table = position.parameter('weight', [max_position_embeddings, D])
  const length = position.op('Shape', [ids], { start: 1, end: 2 }) // [1]
  const placed = position.op('Slice', [table, position.g.int64(0), length, position.g.int64(0)]) // [T, D]
  return embeddings.op('Add', [words, placed]) // [B, T, D]
}

/** Every query is a key, and the unmasked tokens. mask [B, T] -> int32 [B, Q + T] */
function keyMaskOf(part: Part, mask: Value, queries?: Value): Value {
  const text = part.op('Cast', [mask], { to: DATA_TYPE.int32 }) // [B, T]
  if (!queries) return text
  const rows = part.op('Shape', [queries], { start: 0, end: 2 }) // [B, Q]
  const ones = part.op('Cast', [part.op('Expand', [part.g.scalar(1), rows])], { to: DATA_TYPE.int32 }) // [B, Q]
  return part.op('Concat', [ones, text], { axis: 1 }) // [B, Q + T]
}

interface Sizes {
  config: QFormerConfig
  /** Q, or 0 without queries. */
  count: number
  /** Nothing reads the text of the last layer beside queries. */
  isLast: boolean
}

function layer(
  part: Part,
  x: QFormerOutput,
  picture: QFormerInputs['queries'],
  keyMask: Value | undefined,
  sizes: Sizes,
): QFormerOutput {
  const { config, count, isLast } = sizes
  const all =
    x.queries && x.text ? part.op('Concat', [x.queries, x.text], { axis: 1 }) : (x.queries ?? x.text)! // [B, Q + T, D]
  const attended = attention(part.at('attention'), all, { config, keyMask }) // [B, Q + T, D]
  let [queries, text]: (Value | undefined)[] = x.queries ? [attended] : [undefined, attended]
  if (x.queries && x.text) {
    const slice = (from: number, to: number) =>
      part.op('Slice', [attended, part.g.int64(from), part.g.int64(to), part.g.int64(1)])
    ;[queries, text] = [slice(0, count), slice(count, Number.MAX_SAFE_INTEGER)] // [B, Q, D], [B, T, D]
  }
  if (queries && picture) {
    const source = { ...picture, isShared: x.text !== undefined }
    queries = attention(part.at('crossattention'), queries, { config, source }) // [B, Q, D]
  }
  if (queries && text && isLast) {
    ignoreTextMlp(part)
    text = undefined
  }
  return {
    queries: queries && feedForward(part, queries, 'intermediate_query', 'output_query', config), // [B, Q, D]
    text: text && feedForward(part, text, 'intermediate', 'output', config), // [B, T, D]
  }
}

/** x + MLP(x), normed. [B, N, D] -> [B, N, D] */
function feedForward(part: Part, x: Value, up: string, down: string, config: QFormerConfig): Value {
  const { hidden_size: D, intermediate_size: F, hidden_act, layer_norm_eps } = config
  const output = mlp(part, x, [`${up}.dense`, `${down}.dense`], [D, F], hidden_act) // [B, N, D]
  const sum = part.at(down).op('Add', [output, x]) // [B, N, D]
  return layerNorm(part.at(`${down}.LayerNorm`), sum, D, layer_norm_eps) // [B, N, D]
}

/**
 * x [B, N, D] attends to itself, or to `source.vision` [I, P, `source.width`] -> x + attention, normed, [B, N, D]. If it is
 * shared, B / I rows after each other attend to one picture, whose keys and values are computed once.
 */
function attention(
  part: Part,
  x: Value,
  {
    config: { hidden_size: D, num_attention_heads, layer_norm_eps },
    source,
    keyMask,
  }: {
    config: QFormerConfig
    source?: { vision: Value; count: number; width: number; isShared: boolean }
    keyMask?: Value
  },
): Value {
  const inner = part.at('attention')
  const [q, k, v] = source
    ? [
        linear(inner.at('query'), x, [D, D]), // [B, N, D]
        ...fusedLinear(inner, ['key', 'value'], source.vision, [source.width, D]), // 2 x [B, P, D]
      ]
    : fusedLinear(inner, ['query', 'key', 'value'], x, [D, D]) // 3 x [B, N, D]
  const joined = source?.isShared ? perPicture(inner, q!, source.vision, D) : q! // [B, N, D] or [I, B / I * N, D]
  const attended = multiHeadAttention(inner, joined, k!, v!, num_attention_heads, { keyMask }) // as `joined`
  const output = source?.isShared
    ? inner.op('Reshape', [attended, inner.g.int64(-1, source.count, D)])
    : attended // [B, N, D]
  const projected = linear(part.at('output.dense'), output, [D, D]) // [B, N, D]
  const sum = part.at('output').op('Add', [projected, x]) // [B, N, D]
  return layerNorm(part.at('output.LayerNorm'), sum, D, layer_norm_eps) // [B, N, D]
}

/** The rows of one picture as one row: x [B, N, D], vision [I, P, width] -> [I, B / I * N, D] */
function perPicture({ g }: Part, x: Value, vision: Value, D: number): Value {
  const pictures = g.op('Shape', [vision], { start: 0, end: 1 }) // [1]
  return g.op('Reshape', [x, g.op('Concat', [pictures, g.int64(-1, D)], { axis: 0 })])
}

/** Marks the MLPs for text as not needed, in a checkpoint that has them though its model reads no text in the Q-Former. */
export function ignoreTextBranch(part: Part, { num_hidden_layers }: QFormerConfig): void {
  for (let i = 0; i < num_hidden_layers; i++) ignoreTextMlp(part.at(`encoder.layer.${i}`))
}

/** `part` is a layer. */
function ignoreTextMlp({ weights }: Part): void {
  for (const step of ['intermediate.dense', 'output.dense', 'output.LayerNorm']) {
    for (const name of ['weight', 'bias']) weights.ignore(`${step}.${name}`)
  }
}

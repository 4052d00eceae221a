// BLIP-2 with OPT: captions and answers. Salesforce/blip2-opt-2.7b, -6.7b and their fine-tuned versions.
//
//   pixels [B, 3, H, W] -> vision [B, P, Dv] -> queries [B, Q, Dq] -> prefix [B, Q, D], ids [B, T] -> logits [B, K, V]
//
// Letters of shapes in every file of this folder:
//   B batch   H, W image height and width in pixels   P patches + 1 class token   Q learned queries   T text tokens
//   C slots of the KV cache   K positions that get logits   V vocabulary size
//   D hidden size of the part (Dv vision tower, Dq Q-Former)   F hidden size of its MLP
//
// Li et al. 2023 (arXiv 2301.12597), figure 1; transformers 5.18, Blip2ForConditionalGeneration.

import { z } from 'zod'
import { type ModelDescription, QUERIES } from '../artifact/contract.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph } from '../onnx/graph.ts'
import { BLIP2_OPT } from '../quantize/recipes.ts'
import { architecture } from './architecture.ts'
import { size, tokenId } from './config.ts'
import { decoderGraph } from './decoder.ts'
import { linear } from './layers.ts'
import { describeOpt, opt, optConfig } from './opt.ts'
import { graphOf } from './part.ts'
import { ignoreTextBranch, qformer, qformerConfig } from './queries.ts'
import { patchCount, visionConfig, visionGraph } from './vision.ts'

const config = z
  .object({
    num_query_tokens: size.default(32),
    image_token_index: tokenId.nullish(),
    image_token_id: tokenId.nullish(),
    vision_config: z.preprocess((v) => v ?? {}, visionConfig),
    qformer_config: z.preprocess((v) => v ?? {}, qformerConfig),
    text_config: z.preprocess((v) => v ?? {}, optConfig),
  })
  .transform(({ num_query_tokens, vision_config, qformer_config, text_config, ...file }) => ({
    num_query_tokens,
    /**
     * The token that transformers puts in the place of the picture; null in checkpoints from before 4.47. If a file has
     * both names, transformers uses the newer one.
     */
    image_token_id: file.image_token_id ?? file.image_token_index ?? null,
    vision: vision_config,
    qformer: qformer_config,
    text: text_config,
  }))
  .superRefine(({ vision, qformer, text, num_query_tokens, image_token_id }, context) => {
    const reject = (isWrong: boolean, message: string) => {
      if (isWrong) context.addIssue(message)
    }
    for (const [part, { hidden_size, num_attention_heads: heads }] of Object.entries({
      vision,
      qformer,
      text,
    })) {
      const words = `${part}_config.hidden_size ${hidden_size} is not a multiple of num_attention_heads ${heads}`
      reject(hidden_size % heads !== 0, words)
    }
    const { hidden_size, word_embed_proj_dim: width, vocab_size, max_position_embeddings: positions } = text
    // transformers puts image embeddings of hidden_size between token embeddings of word_embed_proj_dim.
    reject(
      width !== hidden_size,
      `text_config.word_embed_proj_dim ${width} differs from hidden_size ${hidden_size}`,
    )
    const { image_size: image, patch_size: patch } = vision
    const sizes = `${image.join('x')} is smaller than a patch of ${patch.join('x')}`
    reject(image[0] < patch[0] || image[1] < patch[1], `vision_config.image_size ${sizes}`)
    const { bos_token_id, pad_token_id, eos_token_id } = text
    for (const [name, id] of Object.entries({ image_token_id, bos_token_id, pad_token_id, eos_token_id })) {
      const isWrong = [id].flat().some((one) => one !== null && one >= vocab_size)
      reject(isWrong, `${name} ${id} is not below vocab_size ${vocab_size}`)
    }
    const room = `leaves no room for text in max_position_embeddings ${positions}`
    reject(num_query_tokens >= positions, `num_query_tokens ${num_query_tokens} ${room}`)
  })
type Config = z.output<typeof config>

export const blip2Opt = architecture({
  name: 'blip2-opt',
  examples: 'Blip2ForConditionalGeneration with an OPT language model, such as Salesforce/blip2-opt-2.7b',
  recognizes: ({ model_type, architecture: task, language }) =>
    model_type === 'blip-2' && task === 'Blip2ForConditionalGeneration' && language === 'opt',
  config,
  untied: ({ text, ...rest }) => ({ ...rest, text: { ...text, tie_word_embeddings: false } }),
  describe,
  tokenizers: ({ text }) => [{ folder: '', prefix: '', vocabulary: text.vocab_size }],
  recipe: BLIP2_OPT,
  build: (config, weights) => [
    visionGraph(weights, config.vision),
    queriesGraph(config, weights),
    decoderGraph(weights, describeOpt(config.text, config.image_token_id), (root, inputs) =>
      opt(root.at('language_model'), inputs, config.text),
    ),
  ],
})

function describe({ vision, qformer: { hidden_size }, text, num_query_tokens, image_token_id }: Config) {
  return {
    tasks: ['caption', 'answer'],
    vision: { image: vision.image_size, patches: patchCount(vision), width: vision.hidden_size },
    queries: {
      count: num_query_tokens,
      width: hidden_size,
      reads_text: false,
      text: null,
      embedding_width: null,
    },
    language: describeOpt(text, image_token_id),
    prompt: {
      caption: '',
      question: 'Question: {question} Answer:',
      turn: 'Question: {question} Answer: {answer}',
      turns: null,
    },
    generation: {},
    unknown: [],
  } satisfies Omit<ModelDescription, 'architecture'>
}

/** vision [B, P, Dv] -> queries [B, Q, Dq], and prefix [B, Q, D] in the width of the language model. */
function queriesGraph(
  { num_query_tokens: Q, qformer: config, text, vision }: Config,
  weights: Weights,
): Graph {
  return graphOf(QUERIES.graph, weights, (root) => {
    const { hidden_size: width } = vision
    const { hidden_size: Dq } = config
    const input = root.g.input(QUERIES.vision, 'float32', ['B', patchCount(vision), width])
    const tokens = root.parameter('query_tokens', [1, Q, Dq])
    const part = root.at('qformer')
    if (config.use_qformer_text_input) ignoreTextBranch(part, config)
    const { queries } = qformer(part, part.at('layernorm'), config, {
      queries: { tokens, count: Q, vision: input, width },
    })
    const prefix = linear(root.at('language_projection'), queries!, [Dq, text.hidden_size]) // [B, Q, D]
    root.g.output(QUERIES.queries, queries!, 'float32', ['B', Q, Dq])
    root.g.output(QUERIES.prefix, prefix, 'float32', ['B', Q, text.hidden_size])
  })
}

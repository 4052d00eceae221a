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
import type { ModelDescription } from '../artifact/contract.ts'
import { BLIP2_OPT } from '../quantize/recipes.ts'
import { architecture } from './architecture.ts'
import { blip2Fields, blip2Parts, describePicture, presetsOf, queriesGraph, rejectBlip2 } from './blip2.ts'
import { rejectHeads, rejecting, rejectTokenIds } from './config.ts'
import { decoderGraph } from './decoder.ts'
import { describeOpt, opt, optConfig } from './opt.ts'
import { visionGraph } from './vision.ts'

const config = z
  .object({ ...blip2Fields, text_config: z.preprocess((v) => v ?? {}, optConfig) })
  .transform(({ text_config, ...file }) => ({ ...blip2Parts(file), text: text_config }))
  .superRefine(({ text, ...parts }, context) => {
    const reject = rejecting(context)
    rejectBlip2(parts, reject)
    rejectHeads('text', text, reject)
    const { hidden_size, word_embed_proj_dim: width, vocab_size, max_position_embeddings: positions } = text
    // transformers puts image embeddings of hidden_size between token embeddings of word_embed_proj_dim.
    reject(
      width !== hidden_size,
      `text_config.word_embed_proj_dim ${width} differs from hidden_size ${hidden_size}`,
    )
    const { bos_token_id, pad_token_id, eos_token_id } = text
    const { image_token_id, num_query_tokens } = parts
    rejectTokenIds({ image_token_id, bos_token_id, pad_token_id, eos_token_id }, vocab_size, reject)
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
    queriesGraph(weights, config, config.text.hidden_size),
    decoderGraph(weights, describeOpt(config.text, config.image_token_id), (root, inputs) =>
      opt(root.at('language_model'), inputs, config.text),
    ),
  ],
})

function describe({ text, ...parts }: Config) {
  return {
    tasks: ['caption', 'answer', 'features'],
    ...describePicture(parts),
    language: describeOpt(text, parts.image_token_id),
    prompt: {
      caption: '',
      question: 'Question: {question} Answer:',
      turn: 'Question: {question} Answer: {answer}',
      turns: null,
    },
    generation: {},
    presets: presetsOf({ max_new_tokens: 30 }, 0),
    unknown: [],
  } satisfies Omit<ModelDescription, 'architecture'>
}

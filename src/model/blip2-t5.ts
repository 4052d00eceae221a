// BLIP-2 with T5: captions and answers. Salesforce/blip2-flan-t5-xl, -xxl, -xl-coco and their fine-tuned versions.
//
//   pixels [B, 3, H, W] -> vision [B, P, Dv] -> queries [B, Q, Dq] -> prefix [B, Q, D], prompt [B, T] -> encoder
//     -> keys and values, ids [B, T] -> logits [B, K, V]
//
// Li et al. 2023 (arXiv 2301.12597), figure 3 below; transformers 5.18, Blip2ForConditionalGeneration.

import { z } from 'zod'
import type { ModelDescription } from '../artifact/contract.ts'
import { BLIP2_T5 } from '../quantize/recipes.ts'
import { architecture } from './architecture.ts'
import { blip2Fields, blip2Parts, describePicture, presetsOf, queriesGraph, rejectBlip2 } from './blip2.ts'
import { rejecting, rejectTokenIds } from './config.ts'
import { describeT5, t5Config, t5Graphs } from './t5.ts'
import { visionGraph } from './vision.ts'

const config = z
  .object({ ...blip2Fields, text_config: z.preprocess((v) => v ?? {}, t5Config) })
  .transform(({ text_config, ...file }) => ({ ...blip2Parts(file), text: text_config }))
  .superRefine(({ text, ...parts }, context) => {
    const reject = rejecting(context)
    rejectBlip2(parts, reject)
    const { vocab_size, bos_token_id, pad_token_id, eos_token_id, decoder_start_token_id } = text
    const { image_token_id } = parts
    const ids = { image_token_id, bos_token_id, pad_token_id, eos_token_id, decoder_start_token_id }
    rejectTokenIds(ids, vocab_size, reject)
  })
type Config = z.output<typeof config>

export const blip2T5 = architecture({
  name: 'blip2-t5',
  examples: 'Blip2ForConditionalGeneration with a T5 language model, such as Salesforce/blip2-flan-t5-xl',
  recognizes: ({ model_type, architecture: task, language }) =>
    model_type === 'blip-2' && task === 'Blip2ForConditionalGeneration' && language === 't5',
  config,
  untied: ({ text, ...rest }) => ({ ...rest, text: { ...text, ownDecoderEmbedding: true } }),
  describe,
  tokenizers: ({ text }) => [{ folder: '', prefix: '', vocabulary: text.vocab_size }],
  recipe: BLIP2_T5,
  build: (config, weights) => [
    visionGraph(weights, config.vision),
    queriesGraph(weights, config, config.text.d_model),
    ...t5Graphs(weights, config.text, describe(config).language),
  ],
})

/** Prompts: Li et al., section 4.1 (visual question answering); earlier turns as in LAVIS' README. */
function describe({ text, ...parts }: Config) {
  return {
    tasks: ['caption', 'answer', 'features'],
    ...describePicture(parts),
    language: describeT5(text, parts.num_query_tokens, parts.image_token_id),
    prompt: {
      caption: '',
      question: 'Question: {question} Short answer:',
      turn: 'Question: {question} Answer: {answer}',
      turns: null,
    },
    generation: {},
    presets: presetsOf({ max_new_tokens: 30 }, -1),
    unknown: [],
  } satisfies Omit<ModelDescription, 'architecture'>
}

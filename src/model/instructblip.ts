// InstructBLIP: answers to instructions, with LLaMA (Salesforce/instructblip-vicuna-7b, -13b) or with T5
// (Salesforce/instructblip-flan-t5-xl, -xxl). BLIP-2 whose Q-Former reads the instruction too, with a tokenizer of its own.
//
//   pixels [B, 3, H, W] -> vision [B, P, Dv], instruction [B, T] -> queries [B, Q, Dq] -> prefix [B, Q, D]
//     -> the language model of llama.ts or t5.ts, which reads the same instruction
//
// Dai et al. 2023 (arXiv 2305.06500), figure 3; transformers 5.18, InstructBlipForConditionalGeneration.

import { z } from 'zod'
import type { ModelDescription } from '../artifact/contract.ts'
import { BLIP2_LLAMA, BLIP2_T5 } from '../quantize/recipes.ts'
import { architecture, type Header, type TokenizerFiles } from './architecture.ts'
import {
  type Blip2Parts,
  blip2Fields,
  blip2Parts,
  describePicture,
  presetsOf,
  queriesGraph,
  rejectBlip2,
} from './blip2.ts'
import { rejecting, rejectTokenIds } from './config.ts'
import { decoderGraph } from './decoder.ts'
import { describeLlama, llama, llamaConfig } from './llama.ts'
import { describeT5, t5Config, t5Graphs } from './t5.ts'
import { visionGraph } from './vision.ts'

/** Of long answers: LAVIS, generate() of blip2_vicuna_instruct.py and blip2_t5_instruct.py. */
const PAPER = { max_new_tokens: 256, repetition_penalty: 1.5 }
const READS_TEXT = { readsText: true }

const isInstructBlip = ({ model_type, architecture: task }: Header) =>
  model_type === 'instructblip' && task === 'InstructBlipForConditionalGeneration'

const llamaFile = z
  .object({ ...blip2Fields, text_config: llamaConfig })
  .transform(({ text_config, ...file }) => ({ ...blip2Parts(file), text: text_config }))
  .superRefine(({ text, ...parts }, context) => {
    const reject = rejecting(context)
    rejectBlip2(parts, reject)
    const { vocab_size, max_position_embeddings: positions, bos_token_id, pad_token_id, eos_token_id } = text
    const { image_token_id, num_query_tokens } = parts
    rejectTokenIds({ image_token_id, bos_token_id, pad_token_id, eos_token_id }, vocab_size, reject)
    const room = `leaves no room for text in max_position_embeddings ${positions}`
    reject(num_query_tokens >= positions, `num_query_tokens ${num_query_tokens} ${room}`)
  })

export const instructBlipLlama = architecture({
  name: 'instructblip-llama',
  examples:
    'InstructBlipForConditionalGeneration with a LLaMA language model, such as Salesforce/instructblip-vicuna-7b',
  recognizes: (header) => isInstructBlip(header) && header.language === 'llama',
  config: llamaFile,
  untied: ({ text, ...rest }) => ({ ...rest, text: { ...text, tie_word_embeddings: false } }),
  describe: ({ text, ...parts }) => ({
    ...describe(parts),
    language: describeLlama(text, parts.image_token_id),
    presets: presetsOf({ ...PAPER, zero_id_as_two: true }, 0),
  }),
  tokenizers: ({ text, qformer: { vocab_size } }) => tokenizers(text.vocab_size, vocab_size),
  recipe: BLIP2_LLAMA,
  build: (config, weights) => [
    visionGraph(weights, config.vision),
    queriesGraph(weights, config, config.text.hidden_size, READS_TEXT),
    decoderGraph(weights, describeLlama(config.text, config.image_token_id), (root, inputs) =>
      llama(root.at('language_model'), inputs, config.text),
    ),
  ],
})

const t5File = z
  .object({ ...blip2Fields, text_config: t5Config })
  .transform(({ text_config, ...file }) => ({ ...blip2Parts(file), text: text_config }))
  .superRefine(({ text, ...parts }, context) => {
    const reject = rejecting(context)
    rejectBlip2(parts, reject)
    const { vocab_size, bos_token_id, pad_token_id, eos_token_id, decoder_start_token_id } = text
    const { image_token_id } = parts
    const ids = { image_token_id, bos_token_id, pad_token_id, eos_token_id, decoder_start_token_id }
    rejectTokenIds(ids, vocab_size, reject)
  })

export const instructBlipT5 = architecture({
  name: 'instructblip-t5',
  examples:
    'InstructBlipForConditionalGeneration with a T5 language model, such as Salesforce/instructblip-flan-t5-xl',
  recognizes: (header) => isInstructBlip(header) && header.language === 't5',
  config: t5File,
  untied: ({ text, ...rest }) => ({ ...rest, text: { ...text, ownDecoderEmbedding: true } }),
  describe: ({ text, ...parts }) => ({
    ...describe(parts),
    language: describeT5(text, parts.num_query_tokens, parts.image_token_id),
    presets: presetsOf(PAPER, -1),
  }),
  tokenizers: ({ text, qformer: { vocab_size } }) => tokenizers(text.vocab_size, vocab_size),
  recipe: BLIP2_T5,
  build: ({ text, ...parts }, weights) => [
    visionGraph(weights, parts.vision),
    queriesGraph(weights, parts, text.d_model, READS_TEXT),
    ...t5Graphs(weights, text, describeT5(text, parts.num_query_tokens, parts.image_token_id)),
  ],
})

/** Begins the names of the Q-Former's tokenizer files in an artifact. */
const QFORMER_FILES = 'qformer_'

function tokenizers(vocabulary: number, ofQFormer: number): TokenizerFiles[] {
  return [
    { folder: '', prefix: '', vocabulary },
    { folder: 'qformer_tokenizer', prefix: QFORMER_FILES, vocabulary: ofQFormer },
  ]
}

/** The prompt is the bare instruction. That for a caption is the paper's for NoCaps and Flickr30K (appendix E). */
function describe(parts: Blip2Parts) {
  const picture = describePicture(parts)
  const { vocab_size: vocabulary, max_position_embeddings: positions } = parts.qformer
  return {
    ...picture,
    tasks: ['caption', 'answer'],
    queries: {
      ...picture.queries,
      reads_text: true,
      text: { tokenizer: QFORMER_FILES, vocabulary, positions },
    },
    prompt: {
      caption: 'A short image description:',
      question: '{question}',
      turn: 'Question: {question} Answer: {answer}',
      turns: null,
    },
    generation: { max_new_tokens: 60 },
    unknown: [],
  } satisfies Omit<ModelDescription, 'architecture' | 'language' | 'presets'>
}

// config.json -> the description of a model: what is left out has transformers' defaults, and what is wrong is named, all of it.

import { expect, test } from 'vitest'
import { ArtifactError } from '../../src/errors.ts'
import { planModel } from '../../src/model/architectures.ts'
import { optConfig } from '../../src/model/opt.ts'
import { qformerConfig } from '../../src/model/queries.ts'
import { visionConfig } from '../../src/model/vision.ts'
import { configWith } from '../make-checkpoint.ts'

function problem(json: unknown): string {
  try {
    planModel(json)
  } catch (error) {
    expect(error).toBeInstanceOf(ArtifactError)
    return `${(error as ArtifactError).code}: ${(error as ArtifactError).message}`
  }
  return 'none'
}

test('an empty config is blip2-opt with the defaults of transformers', () => {
  const { architecture, vision, queries, language } = planModel({}).description
  expect(architecture).toBe('blip2-opt')
  expect(vision).toEqual({ width: 1408, image: [224, 224], patches: 257 })
  expect(queries).toMatchObject({ width: 768, count: 32 })
  expect(language).toMatchObject({ width: 768, vocabulary: 50272, layers: 12, image_token_id: null })
  expect(visionConfig.parse({}).num_hidden_layers).toBe(39)
  expect(qformerConfig.parse({}).num_hidden_layers).toBe(12)
  expect(optConfig.parse({}).word_embed_proj_dim).toBe(768)
})

test.each([
  ['no object', []],
  ['null', null],
  ['a number', 3],
  ['a text', 'blip-2'],
  ['a part that is a number', { text_config: 3 }],
  ['a part that is a list', { vision_config: [] }],
  ['architectures that are no list', { architectures: 'Blip2ForConditionalGeneration' }],
  ['architectures that are no text', { architectures: [1] }],
])('%s is a bad config', (_, json) => {
  expect(problem(json)).toMatch(/^bad_config: /)
})

test.each([
  ['another model', { model_type: 'llava' }, '"llava"'],
  ['another task', { architectures: ['Blip2TextModelWithProjection'] }, '"Blip2TextModelWithProjection"'],
  ['another language model', { text_config: { model_type: 'bloom' } }, '"bloom"'],
])('%s is an unknown architecture, and the error says which are known', async (_, edit, words) => {
  const message = problem(await configWith(edit))
  expect(message).toMatch(/^unknown_architecture: /)
  expect(message).toContain(words)
  expect(message).toContain('Salesforce/blip2-opt-2.7b')
})

test.each<[string, Record<string, unknown>, string]>([
  ['a size as text', { vision_config: { hidden_size: '24' } }, 'vision_config.hidden_size'],
  ['pictures of side 0', { vision_config: { image_size: 0 } }, 'vision_config.image_size'],
  ['one side in a list', { vision_config: { image_size: [28] } }, 'vision_config.image_size'],
  ['half a layer', { qformer_config: { num_hidden_layers: 1.5 } }, 'qformer_config.num_hidden_layers'],
  ['a billion layers', { text_config: { num_hidden_layers: 1e9 } }, 'text_config.num_hidden_layers'],
  ['no heads', { text_config: { num_attention_heads: 0 } }, 'text_config.num_attention_heads'],
  ['a negative id', { text_config: { eos_token_id: -1 } }, 'text_config.eos_token_id'],
  ['no end', { text_config: { eos_token_id: [] } }, 'text_config.eos_token_id'],
  ['an unknown activation', { qformer_config: { hidden_act: 'prelu' } }, 'qformer_config.hidden_act'],
  ['an epsilon as text', { vision_config: { layer_norm_eps: '1e-6' } }, 'vision_config.layer_norm_eps'],
  ['a size too large to count', { text_config: { vocab_size: 1e300 } }, 'text_config.vocab_size'],
  [
    'heads that do not divide',
    { text_config: { num_attention_heads: 7 } },
    'not a multiple of num_attention_heads 7',
  ],
  ['a narrower table', { text_config: { word_embed_proj_dim: 12 } }, 'word_embed_proj_dim 12 differs'],
  [
    'a patch larger than the picture',
    { vision_config: { patch_size: 56 } },
    "can't build: vision_config.image_size 28x28 is smaller than a patch of 56x56. Correct",
  ],
  [
    '<image> outside the vocabulary',
    { image_token_index: 320 },
    'image_token_id 320 is not below vocab_size 320',
  ],
  [
    'a beginning outside',
    { text_config: { bos_token_id: 320 } },
    'bos_token_id 320 is not below vocab_size 320',
  ],
  ['padding outside', { text_config: { pad_token_id: 999 } }, 'pad_token_id 999 is not below vocab_size 320'],
  [
    'one of the ends outside',
    { text_config: { eos_token_id: [2, 320] } },
    'eos_token_id 2,320 is not below vocab_size 320',
  ],
  ['queries that fill all positions', { num_query_tokens: 160 }, 'num_query_tokens 160 leaves no room'],
])('%s is a bad config whose error names it', async (_, edit, words) => {
  const message = problem(await configWith(edit))
  expect(message).toMatch(/^bad_config: /)
  expect(message).toContain(words)
})

test('two mistakes are named together', async () => {
  const message = problem(
    await configWith({ vision_config: { hidden_size: 0 }, text_config: { ffn_dim: 'many' } }),
  )
  expect(message).toContain('vision_config.hidden_size')
  expect(message).toContain('text_config.ffn_dim')
})

test('a key left out means the default, null means none: padding and end', async () => {
  const none = await configWith({ text_config: { pad_token_id: null, eos_token_id: null } })
  expect(planModel(none).description.language).toMatchObject({ pad_token_id: null, eos_token_id: [] })
  expect(planModel({}).description.language).toMatchObject({ pad_token_id: 1, eos_token_id: [2] })
})

test('of two names for the placeholder the newer counts, as in transformers', async () => {
  const placeholder = async (edit: object) => planModel(await configWith({ ...edit })).description.language
  expect(await placeholder({ image_token_id: 3 })).toMatchObject({ image_token_id: 3 })
  expect(await placeholder({ image_token_id: null })).toMatchObject({ image_token_id: 296 })
})

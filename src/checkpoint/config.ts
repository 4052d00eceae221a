// config.json -> Blip2Config: every size that the graphs need.
//
// transformers omits values that equal its defaults, so the defaults below are part of the format: configuration_blip_2.py
// and configuration_opt.py of transformers 5.18. Names are those of the file.

import { z } from 'zod'
import { ArtifactError } from '../errors.ts'
import { reasonOf } from './files.ts'

const size = z.number().int().positive()
/** More than any transformer has. A typing error would otherwise build layers until memory runs out. */
const MAX_LAYERS = 1000
const layers = size.max(MAX_LAYERS)
/** A side, or [height, width]. */
const sides = z
  .union([size, z.tuple([size, size])])
  .transform((s): [number, number] => (typeof s === 'number' ? [s, s] : s))

/** The activations that model/ builds, by transformers' names (ACT2FN). */
export const ACTIVATIONS = [
  'gelu',
  'gelu_python',
  'gelu_10',
  'relu',
  'relu2',
  'relu6',
  'leaky_relu',
  'quick_gelu',
  'gelu_new',
  'gelu_pytorch_tanh',
  'gelu_python_tanh',
  'gelu_accurate',
  'gelu_fast',
  'silu',
  'swish',
  'hardswish',
  'mish',
  'sigmoid',
  'tanh',
  'linear',
] as const
const activation = z.enum(ACTIVATIONS)
export type Activation = z.infer<typeof activation>

const visionConfig = z.object({
  hidden_size: size.default(1408),
  intermediate_size: size.default(6144),
  num_hidden_layers: layers.default(39),
  num_attention_heads: size.default(16),
  image_size: sides.default([224, 224]),
  patch_size: sides.default([14, 14]),
  hidden_act: activation.default('gelu'),
  layer_norm_eps: z.number().positive().default(1e-6),
  qkv_bias: z.boolean().default(true),
})

const qformerConfig = z.object({
  hidden_size: size.default(768),
  num_hidden_layers: layers.default(12),
  num_attention_heads: size.default(12),
  intermediate_size: size.default(3072),
  hidden_act: activation.default('gelu'),
  layer_norm_eps: z.number().positive().default(1e-12),
  cross_attention_frequency: size.default(2),
  use_qformer_text_input: z.boolean().default(false),
})

const tokenId = z.number().int().nonnegative()

const optConfig = z
  .object({
    vocab_size: size.default(50272),
    hidden_size: size.default(768),
    num_hidden_layers: layers.default(12),
    ffn_dim: size.default(3072),
    max_position_embeddings: size.default(2048),
    do_layer_norm_before: z.boolean().default(true),
    _remove_final_layer_norm: z.boolean().default(false),
    word_embed_proj_dim: size.nullish(),
    num_attention_heads: size.default(12),
    activation_function: activation.default('relu'),
    // An absent pad_token_id or eos_token_id means the default; null means that the model has none.
    pad_token_id: tokenId.nullable().default(1),
    bos_token_id: tokenId.nullish().transform((id) => id ?? 2),
    eos_token_id: z
      .union([tokenId, z.array(tokenId).min(1)])
      .nullable()
      .default(2),
    enable_bias: z.boolean().default(true),
    layer_norm_elementwise_affine: z.boolean().default(true),
    tie_word_embeddings: z.boolean().default(true),
  })
  .transform((text) => ({ ...text, word_embed_proj_dim: text.word_embed_proj_dim ?? text.hidden_size }))

const blip2Config = z
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

export type VisionConfig = z.output<typeof visionConfig>
export type QFormerConfig = z.output<typeof qformerConfig>
export type OptConfig = z.output<typeof optConfig>

export type Blip2Config = z.output<typeof blip2Config>

const architecture = z.object({
  model_type: z.string().default('blip-2'),
  architectures: z.array(z.string()).nullish(),
  text_config: z.object({ model_type: z.string().default('opt') }).nullish(),
})

const CAN_BUILD =
  'Glimpse builds Blip2ForConditionalGeneration checkpoints with an OPT language model, such as Salesforce/blip2-opt-2.7b'

/** @throws ArtifactError `unknown_architecture` or `bad_config`, which names every wrong key */
export function parseConfig(json: unknown): Blip2Config {
  const { model_type, architectures, text_config } = parsed(architecture, json)
  const task = architectures?.[0] ?? 'Blip2ForConditionalGeneration'
  const language = text_config?.model_type ?? 'opt'
  if (model_type !== 'blip-2' || task !== 'Blip2ForConditionalGeneration' || language !== 'opt') {
    throw new ArtifactError(
      'unknown_architecture',
      `Expected model_type "blip-2", architecture "Blip2ForConditionalGeneration" and text model "opt" in config.json but got "${model_type}", "${task}" and "${language}". ${CAN_BUILD}.`,
    )
  }
  return parsed(blip2Config, json)
}

function parsed<T extends z.ZodType>(schema: T, json: unknown): z.output<T> {
  const { success, data, error } = schema.safeParse(json)
  if (success) return data
  throw new ArtifactError(
    'bad_config',
    `config.json has values that Glimpse can't build: ${reasonOf(error)}. Correct the file or download the checkpoint again. ${CAN_BUILD}.`,
  )
}

// What a built folder holds: the only place where model/ (which draws graphs) and run/ (which runs them) meet.
//
//   manifest.json      this file's `Manifest`
//   vision.onnx        pixels [B, 3, H, W] -> vision [B, P, Dv]
//   queries.onnx       vision [B, P, Dv] -> queries [B, Q, Dq], prefix [B, Q, D]
//   language.onnx      prefix [B, Q or 0, D], input_ids [B, T], caches -> logits [B, K, V], what to cache of these tokens
//   *.data             their weights
//   tokenizer.json ... as the checkpoint has them
//
// B pictures or rows, H x W pixels, P patches + 1, Q queries, T tokens, S = Q + T or T positions, C slots of a cache,
// K positions asked for, V vocabulary.

import { z } from 'zod'
import { formatSchema, PRECISIONS, TARGETS } from '../quantize/recipes.ts'

export const VISION = { graph: 'vision', pixels: 'pixels', vision: 'vision' } as const

export const QUERIES = { graph: 'queries', vision: 'vision', queries: 'queries', prefix: 'prefix' } as const

export const LANGUAGE = {
  graph: 'language',
  /** float32 [B, Q or 0, D]: the picture, in front of the tokens; none after the first step. */
  prefix: 'prefix',
  /** int64 [B, T] */
  input_ids: 'input_ids',
  /** int64 [B, C + S]: 0 where a slot is empty or padding. Positions are counted along the ones. */
  attention_mask: 'attention_mask',
  /** int64 []: logits are made for this many last positions. */
  logits_to_keep: 'logits_to_keep',
  logits: 'logits',
  /** float32 [B, heads, C, D / heads]; what is in an empty slot does not matter. */
  pastKey: (layer: number) => `past.${layer}.key`,
  pastValue: (layer: number) => `past.${layer}.value`,
  /**
   * float32 [B, S, D]: of these positions alone. onnxruntime-node copies every output into memory it has just asked
   * for; whole caches of opt-2.7b would be 30 MB of that for each token.
   */
  newKey: (layer: number) => `new.${layer}.key`,
  newValue: (layer: number) => `new.${layer}.value`,
} as const

export const MANIFEST = 'manifest.json'
/** Raised when a folder built before can no longer be run. */
export const FORMAT = 'glimpse-artifact/3'

const size = z.number().int().positive()
const id = z.number().int().nonnegative()

export const manifestSchema = z.strictObject({
  format: z.literal(FORMAT),
  name: z.string().min(1),
  source: z.strictObject({
    /** Name of the checkpoint's folder, or its name on the hub. */
    checkpoint: z.string(),
    /** The hub's name of the version it was pulled at. */
    commit: z.string().optional(),
    /** sha256 of config.json, which pins the architecture. */
    config_sha256: z.string(),
    weight_bytes: z.number().int().nonnegative(),
  }),
  precision: z.enum(PRECISIONS),
  /** What it was built to run on, if not the CPU. */
  target: z.enum(TARGETS).optional(),
  /** The rules the weights were stored by, with their reasons. */
  recipe: z.array(z.strictObject({ weights: z.string(), format: formatSchema, reason: z.string() })),
  sizes: z.strictObject({
    /** [height, width] in pixels */
    image: z.tuple([size, size]),
    patches: size,
    vision_width: size,
    queries: size,
    query_width: size,
    width: size,
    layers: size,
    heads: size,
    vocabulary: size,
    max_positions: size,
  }),
  tokens: z.strictObject({
    bos_token_id: id,
    pad_token_id: id.nullable(),
    /** None: answers end where they may be no longer. */
    eos_token_id: z.array(id),
    image_token_id: id.nullable(),
  }),
  /** preprocessor_config.json as it was. */
  preprocessor: z.unknown(),
  /** What the model says of itself: words.json of the embedded model. */
  about: z.unknown().optional(),
  /** What it said of a made-up picture when it was built, if it was tried: nothing is a bad sign. */
  trial: z.strictObject({ texts: z.array(z.string()) }).optional(),
  files: z.array(
    // Names alone; those that begin with a dot are for notes about the folder.
    z.strictObject({
      path: z.string().regex(/^[^./\\][^/\\]*$/),
      sizeBytes: z.number().int().nonnegative(),
      sha256: z.string(),
    }),
  ),
  versions: z.strictObject({ glimpse: z.string(), onnxruntime: z.string() }),
})

export type Manifest = z.infer<typeof manifestSchema>

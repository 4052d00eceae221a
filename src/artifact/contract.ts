// What an artifact's folder contains: the contract between model/ (builds graphs) and run/ (runs graphs), which do not
// import each other.
//
//   manifest.json      this file's `Manifest`
//   vision.onnx        pixels [B, 3, H, W] -> vision [B, P, Dv]
//   queries.onnx       vision [B, P, Dv] -> queries [B, Q, Dq], prefix [B, Q, D]
//   language.onnx      prefix [B, Q or 0, D], input_ids [B, T], KV cache -> logits [B, K, V], new keys and values
//   *.data             their weights
//   tokenizer.json ... copies of the checkpoint's files
//
// B images or rows, H x W pixels, P patches + 1 class token, Q queries, T tokens, S = Q + T or T positions, C slots of
// the KV cache, K positions that get logits, V vocabulary size, D hidden size of the language model.

import { z } from 'zod'
import { formatSchema, PRECISIONS, TARGETS } from '../quantize/recipes.ts'

export const VISION = { graph: 'vision', pixels: 'pixels', vision: 'vision' } as const

export const QUERIES = { graph: 'queries', vision: 'vision', queries: 'queries', prefix: 'prefix' } as const

export const LANGUAGE = {
  graph: 'language',
  /** float32 [B, Q or 0, D]: image embeddings in front of the tokens; empty after prefill. */
  prefix: 'prefix',
  /** int64 [B, T] */
  input_ids: 'input_ids',
  /** int64 [B, C + S]: 0 at empty slots and padding. A token's position is the count of ones before it. */
  attention_mask: 'attention_mask',
  /** int64 []: K, the number of last positions that get logits. */
  logits_to_keep: 'logits_to_keep',
  logits: 'logits',
  /** float32 [B, heads, C, D / heads]. Empty slots may hold any finite numbers. */
  pastKey: (layer: number) => `past.${layer}.key`,
  pastValue: (layer: number) => `past.${layer}.value`,
  /**
   * float32 [B, S, D], of this run's positions only. onnxruntime-node copies every output into newly allocated memory;
   * for whole caches of opt-2.7b that would be 30 MB a token.
   */
  newKey: (layer: number) => `new.${layer}.key`,
  newValue: (layer: number) => `new.${layer}.value`,
} as const

export const MANIFEST = 'manifest.json'
/** Raised when older artifacts can no longer be run. */
export const FORMAT = 'glimpse-artifact/3'

const size = z.number().int().positive()
const id = z.number().int().nonnegative()

export const manifestSchema = z.strictObject({
  format: z.literal(FORMAT),
  name: z.string().min(1),
  source: z.strictObject({
    /** Name of the checkpoint's folder, or of its repository on the hub. */
    checkpoint: z.string(),
    /** The revision that was pulled from the hub. */
    commit: z.string().optional(),
    /** sha256 of config.json, which defines the architecture. */
    config_sha256: z.string(),
    weight_bytes: z.number().int().nonnegative(),
  }),
  precision: z.enum(PRECISIONS),
  /** Absent for the CPU. */
  target: z.enum(TARGETS).optional(),
  /** The rules that chose each weight's format, with their reasons. */
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
    /** If empty, answers end at their maximum length. */
    eos_token_id: z.array(id),
    image_token_id: id.nullable(),
  }),
  /** Content of preprocessor_config.json. */
  preprocessor: z.unknown(),
  /** Content of the checkpoint's words.json; the embedded model has one. */
  about: z.unknown().optional(),
  /** Texts of the build's smoke test for a synthetic image; absent if it was skipped. */
  trial: z.strictObject({ texts: z.array(z.string()) }).optional(),
  files: z.array(
    // Names without a path. Names that begin with a dot are reserved for notes about the folder.
    z.strictObject({
      path: z.string().regex(/^[^./\\][^/\\]*$/),
      sizeBytes: z.number().int().nonnegative(),
      sha256: z.string(),
    }),
  ),
  versions: z.strictObject({ glimpse: z.string(), onnxruntime: z.string() }),
})

export type Manifest = z.infer<typeof manifestSchema>

// What an artifact's folder contains: the contract between model/ (builds graphs) and run/ (runs graphs), which do not
// import each other. The manifest describes the model as data: which graphs there are, what each takes and gives, which
// tasks they serve, how the language model is run and how a question is put to it.
//
//   manifest.json      this file's `Manifest`
//   vision.onnx        pixels [B, 3, H, W] -> vision [B, P, Dv]
//   queries.onnx       vision [B, P, Dv] -> queries [B, Q, Dq], prefix [B, Q, D]
//   matching.onnx      only of a model that matches: vision [I, P, Dv], text_ids [B, T] -> itm_logits [B, 2], image embeds
//   text.onnx          only of a model that matches: text_ids [B, T] -> text embeds [B, T, E]
//   encoder.onnx       only of an encoder-decoder: prefix [B, Q, D], input_ids [B, T] -> keys and values for its decoder
//   language.onnx      prefix [B, Q or 0, D], input_ids [B, T], KV cache -> logits [B, K, V], new keys and values
//   *.data             their weights
//   tokenizer.json ... copies of the checkpoint's files
//
// B images or rows, I images that B / I texts each belong to, E width of the embeds that are compared, H x W pixels, P patches + 1 class token, Q queries, T tokens, C slots of the KV cache, K positions
// that get logits, V vocabulary size, D width of the language model.

import { z } from 'zod'
import { generationSettings } from '../generation-settings.ts'
import { sha256Hex } from '../hash.ts'
import { PRECISIONS, TARGETS } from '../quantize/recipes.ts'

export const VISION = {
  graph: 'vision',
  pixels: 'pixels',
  vision: 'vision',
  /** float32 [B, Dv]: the class token, normed again. transformers' pooler_output. */
  pooled: 'pooled',
  /** What `matching` reads. An output of the graph only where its last norm is not that of `vision`: of two checkpoints. */
  matching: 'matching_vision',
} as const

export const QUERIES = {
  graph: 'queries',
  vision: 'vision',
  /** int64 [B, T] and int64 [B, T], inputs of the graph only where the queries read a text. */
  text_ids: 'text_ids',
  text_mask: 'text_mask',
  queries: 'queries',
  prefix: 'prefix',
} as const

/**
 * The graph of queries beside a text, for image-text matching. Text b is about picture floor(b / (B / I)), so that many texts
 * share the work of one picture. With a text that is masked everywhere the queries are those of the picture alone.
 */
export const MATCHING = {
  graph: 'matching',
  /** float32 [I, P, Dv] */
  vision: 'vision',
  /** int64 [B, T] each. A text is padded at its end, with 0 in the mask. */
  text_ids: 'text_ids',
  text_mask: 'text_mask',
  /** float32 [B, Q, Dq]: the Q-Former's output, of queries only. */
  query_hidden: 'query_hidden',
  /** float32 [B, Q, E]: `query_hidden` projected and normalized. Compared with a text only if they are of the picture alone. */
  image_embeds: 'image_embeds',
  /** float32 [B, 2]: mean over the queries; the second is for a match. */
  itm_logits: 'itm_logits',
} as const

/** The graph of a text alone, for comparisons with pictures. */
export const TEXT = {
  graph: 'text',
  text_ids: 'text_ids',
  text_mask: 'text_mask',
  /** float32 [B, T, Dq]: the Q-Former's output. */
  text_hidden: 'text_hidden',
  /** float32 [B, T, E]: `text_hidden` projected and normalized. The first of a text is compared with pictures. */
  text_embeds: 'text_embeds',
} as const

/** The graph that generates. Of kind `encoder-decoder` it is the decoder: see CROSS. */
export const LANGUAGE = {
  graph: 'language',
  /** float32 [B, Q or 0, D]: image embeddings in front of the tokens; empty after prefill. */
  prefix: 'prefix',
  /** int64 [B, T] */
  input_ids: 'input_ids',
  /** int64 [B, C + Q + T]: 0 at empty slots and padding. A token's position is the count of ones before it. */
  attention_mask: 'attention_mask',
  /** int64 []: K, the number of last positions that get logits. */
  logits_to_keep: 'logits_to_keep',
  logits: 'logits',
  /** float32 [B, K, D]: what the LM head reads. Not of every model. */
  hidden: 'hidden',
  /** float32 [B, heads, C, head size]. Empty slots may hold any finite numbers. */
  pastKey: (layer: number) => `past.${layer}.key`,
  pastValue: (layer: number) => `past.${layer}.value`,
  /**
   * float32 [B, Q + T, heads * head size], of this run's positions only. onnxruntime-node copies every output into newly
   * allocated memory; for whole caches of opt-2.7b that would be 30 MB a token.
   */
  newKey: (layer: number) => `new.${layer}.key`,
  newValue: (layer: number) => `new.${layer}.value`,
} as const

/** The graph of a language model of kind `encoder-decoder` that reads image embeddings and prompt, once for each prompt. */
export const ENCODER = {
  graph: 'encoder',
  /** float32 [B, Q, D]: image embeddings in front of the tokens. */
  prefix: 'prefix',
  /** int64 [B, T] */
  input_ids: 'input_ids',
  /** int64 [B, Q + T]: 0 at padding, which is at the end. */
  attention_mask: 'attention_mask',
  /** float32 [B, Q + T, D] */
  encoder: 'encoder',
  /** float32 [B, Q + T, heads * head size]: what layer `layer` of the decoder attends to. */
  crossKey: (layer: number) => `cross.${layer}.key`,
  crossValue: (layer: number) => `cross.${layer}.value`,
} as const

/**
 * The graph `language` of kind `encoder-decoder` has no `prefix`, and these inputs besides those of LANGUAGE. Rows that
 * continue one prompt, such as beams, share its keys and values: P prompts, at most W rows of a prompt.
 */
export const CROSS = {
  /** float32 [P, heads, S, head size]: the outputs of `encoder`. Empty slots may hold any finite numbers. */
  key: (layer: number) => `cross.${layer}.key`,
  value: (layer: number) => `cross.${layer}.value`,
  /** int64 [P, S]: 0 at empty slots and padding. */
  mask: 'cross_mask',
  /** int64 [P, W]: the row, counted from 1, that is the w-th of a prompt; any row where a prompt has fewer. */
  rows: 'cross_rows',
  /** int64 [B]: where a row is in `rows`, counted from 1 through all of its elements. */
  places: 'cross_places',
} as const

export const MANIFEST = 'manifest.json'
/** Raised when older artifacts can no longer be run. */
export const FORMAT = 'glimpse-artifact/4'

const size = z.number().int().positive()
const id = z.number().int().nonnegative()

/**
 * An input or output of a graph. A graph must run with inputs of which each named size is 1 and each integer is 1: prepacking
 * compares the outputs (run/prepacked.ts).
 */
const tensorSchema = z.strictObject({
  name: z.string(),
  type: z.enum(['float32', 'float16', 'int64', 'int32']),
  /** A number, or a size that is known when the graph runs: a letter, or letters joined by ` + `. */
  dims: z.array(z.union([id, z.string()])),
})
export type TensorDescription = z.infer<typeof tensorSchema>

const graphSchema = z.strictObject({
  /** The graph is <name>.onnx. */
  name: z.string(),
  inputs: z.array(tensorSchema),
  outputs: z.array(tensorSchema),
})
export type GraphDescription = z.infer<typeof graphSchema>

const textModel = z.strictObject({
  width: size,
  vocabulary: size,
  layers: size,
  /** Heads of keys and values. */
  heads: size,
  head_size: size,
  /** Most positions of queries and prompt, and of the answer where it continues them; null if the model has no limit. */
  positions: size.nullable(),
  /** Read for an empty prompt. */
  bos_token_id: id,
  pad_token_id: id.nullable(),
  /** If empty, answers end at their maximum length. */
  eos_token_id: z.array(id),
  /** The token that transformers puts in the place of each query; null if the checkpoint has none. */
  image_token_id: id.nullable(),
})

const languageSchema = z.discriminatedUnion('kind', [
  /** Reads image embeddings and prompt, and continues them: OPT, LLaMA. */
  textModel.extend({ kind: z.literal('decoder') }),
  /** Reads image embeddings and prompt once in both directions, and writes another text: T5. Sizes are the decoder's. */
  textModel.extend({ kind: z.literal('encoder-decoder'), decoder_start_token_id: id }),
  /** Generates no text: a model for matching and features. */
  z.strictObject({ kind: z.literal('none') }),
])
type LanguageDescription = z.infer<typeof languageSchema>
export type DecoderDescription = Extract<LanguageDescription, { kind: 'decoder' }>
export type EncoderDecoderDescription = Extract<LanguageDescription, { kind: 'encoder-decoder' }>

/** A Q-Former's own text input: beginning of its tokenizer files' names, vocabulary and most tokens. */
const queryText = z.strictObject({ tokenizer: z.string(), vocabulary: size, positions: size })

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
    /** The checkpoint that matches, where it was built into one artifact with another (`--with`). */
    matching: z.strictObject({ checkpoint: z.string(), config_sha256: z.string() }).optional(),
  }),
  /** Its row in model/architectures.ts. */
  architecture: z.string(),
  /** What the model can be asked for: names of rows in engine/tasks.ts. */
  tasks: z.array(z.string()).min(1),
  /** In the order data passes through them. */
  graphs: z.array(graphSchema).min(1),
  vision: z.strictObject({
    /** [height, width] in pixels */
    image: z.tuple([size, size]),
    patches: size,
    width: size,
  }),
  /** Of the graph `queries`; of `matching` in a model that generates no text. */
  queries: z.strictObject({
    count: size,
    width: size,
    /** Whether the image embeddings depend on the text: then they are cached by picture and text. */
    reads_text: z.boolean(),
    /** The text that these queries read; null if they read none. */
    text: queryText.nullable(),
  }),
  /** The Q-Former of the graphs `matching` and `text`; absent if the model does not match. */
  matching: z
    .strictObject({
      count: size,
      width: size,
      text: queryText,
      /** E, length of the vectors that pictures and texts are compared by. */
      embedding_width: size,
    })
    .optional(),
  language: languageSchema,
  /** How a question becomes the text that the language model reads. Templates name {question} and {answer}. */
  prompt: z.strictObject({
    /** Read for a caption. */
    caption: z.string(),
    question: z.string(),
    /** An earlier question and its answer. A space joins turns and question. */
    turn: z.string(),
    /** Most earlier turns that the model was trained to read; null: as many as fit. words.json may say so. */
    turns: z.number().int().nonnegative().nullable(),
  }),
  /** Settings of generate() where the model's own defaults differ from transformers'. */
  generation: generationSettings.partial(),
  /** Sets of settings that a request names by `preset`, such as those of the model's paper. */
  presets: z.record(z.string(), generationSettings.partial()).default({}),
  /** Captions and answers, in lower case, by which the model says that it does not know. */
  unknown: z.array(z.string()),
  precision: z.enum(PRECISIONS),
  /** Absent for the CPU. */
  target: z.enum(TARGETS).optional(),
  /** The rules that chose each weight's format, with their reasons. Formats are data of quantize/recipes.ts. */
  recipe: z.array(
    z.strictObject({ weights: z.string(), format: z.looseObject({ kind: z.string() }), reason: z.string() }),
  ),
  /** Content of preprocessor_config.json. */
  preprocessor: z.unknown(),
  /** Content of the checkpoint's words.json; the embedded model has one. */
  about: z.unknown().optional(),
  /** Texts that the build's smoke test generated for a synthetic image; absent if it was skipped. */
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

/** Identifies an artifact by its files: what one computes for a picture is not mixed with what another does. */
export function artifactKey({ files }: Pick<Manifest, 'files'>): string {
  return sha256Hex(JSON.stringify(files)).slice(0, 16)
}

/** The part of a manifest that describes the model: what an architecture says of a checkpoint's config. */
export type ModelDescription = Pick<
  Manifest,
  | 'architecture'
  | 'tasks'
  | 'vision'
  | 'queries'
  | 'matching'
  | 'language'
  | 'prompt'
  | 'generation'
  | 'presets'
  | 'unknown'
>

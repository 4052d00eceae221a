// What the build needs to know of an architecture: how a config.json is recognised and parsed, what a manifest says of the
// model, which recipe fits its weights, and its graphs. Each architecture is one file in this folder and one row in
// architectures.ts.

import { z } from 'zod'
import type { ModelDescription } from '../artifact/contract.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph } from '../onnx/graph.ts'
import type { Recipe } from '../quantize/recipes.ts'
import { parsed } from './config.ts'

/** The fields of config.json that tell architectures apart, with transformers' defaults. */
export const headerSchema = z
  .object({
    model_type: z.string().default('blip-2'),
    architectures: z.array(z.string()).nullish(),
    text_config: z.object({ model_type: z.string().default('opt') }).nullish(),
  })
  .transform(({ model_type, architectures, text_config }) => ({
    model_type,
    architecture:
      architectures?.[0] ??
      `${model_type === 'instructblip' ? 'InstructBlip' : 'Blip2'}ForConditionalGeneration`,
    language: text_config?.model_type ?? 'opt',
  }))
export type Header = z.output<typeof headerSchema>

/** Where a checkpoint keeps a tokenizer. */
export interface TokenizerFiles {
  /** Folder in the checkpoint, '' for the checkpoint's own. */
  folder: string
  /** Begins the names of its files in the artifact. */
  prefix: string
  /** Most ids that the model has embeddings for. */
  vocabulary: number
}

/** A checkpoint's model, read from its config.json. */
export interface ModelPlan {
  description: ModelDescription
  tokenizers: readonly TokenizerFiles[]
  recipe: Recipe
  /**
   * The graphs, in the order data passes through them.
   * @throws ArtifactError `wrong_tensors`: missing, misshapen, quantized and unused tensors in one error.
   */
  build(weights: Weights): Graph[]
}

export interface Architecture {
  name: string
  /** Which checkpoints it can build, for error messages. */
  examples: string
  recognizes(header: Header): boolean
  /**
   * `untied`: tensors that transformers ties have different values, so that each is used, whatever config.json says.
   * @throws ArtifactError `bad_config`, which names every wrong key
   */
  plan(json: unknown, options: { untied: boolean; canBuild: string }): ModelPlan
}

interface Definition<Schema extends z.ZodType>
  extends Pick<Architecture, 'name' | 'examples' | 'recognizes'> {
  /** Parses config.json. Defaults and names are those of transformers. */
  config: Schema
  /** The same config with tied tensors that have different values. */
  untied(config: z.output<Schema>): z.output<Schema>
  describe(config: z.output<Schema>): Omit<ModelDescription, 'architecture'>
  tokenizers(config: z.output<Schema>): TokenizerFiles[]
  recipe: Recipe
  build(config: z.output<Schema>, weights: Weights): Graph[]
}

export function architecture<Schema extends z.ZodType>(row: Definition<Schema>): Architecture {
  return {
    ...row,
    plan(json, { untied, canBuild }) {
      const read = parsed(row.config, json, canBuild)
      const config = untied ? row.untied(read) : read
      return {
        description: { architecture: row.name, ...row.describe(config) },
        tokenizers: row.tokenizers(config),
        recipe: row.recipe,
        build(weights) {
          const graphs = row.build(config, weights)
          weights.assertAllUsed()
          return graphs
        },
      }
    },
  }
}

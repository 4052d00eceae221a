// The picture's side of BLIP-2, whatever the language model: fields of config.json, their description for the manifest, and
// the graph that makes image embeddings of the vision tower's output.
//
// Li et al. 2023 (arXiv 2301.12597), figure 2; transformers 5.18, modeling_blip_2.py.

import { z } from 'zod'
import { type ModelDescription, QUERIES } from '../artifact/contract.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { GenerationSettings } from '../generation-settings.ts'
import type { Graph } from '../onnx/graph.ts'
import { type Reject, rejectHeads, size, tokenId } from './config.ts'
import { linear } from './layers.ts'
import { graphOf } from './part.ts'
import { ignoreTextBranch, qformer, qformerConfig } from './queries.ts'
import { patchCount, visionConfig } from './vision.ts'

/** Fields of config.json beside `text_config`. */
export const blip2Fields = {
  num_query_tokens: size.default(32),
  image_token_index: tokenId.nullish(),
  image_token_id: tokenId.nullish(),
  vision_config: z.preprocess((v) => v ?? {}, visionConfig),
  qformer_config: z.preprocess((v) => v ?? {}, qformerConfig),
}
const fields = z.object(blip2Fields)
export type Blip2Parts = ReturnType<typeof blip2Parts>

/** The parts of a model by the names that this folder uses. */
export function blip2Parts(file: z.output<typeof fields>) {
  return {
    num_query_tokens: file.num_query_tokens,
    /**
     * The token that transformers puts in the place of the picture; null in checkpoints from before 4.47. If a file has
     * both names, transformers uses the newer one.
     */
    image_token_id: file.image_token_id ?? file.image_token_index ?? null,
    vision: file.vision_config,
    qformer: file.qformer_config,
  }
}

/**
 * Settings that LAVIS generates with: `paper` for captions and long answers, `paper-short` for the short answers of visual
 * question answering. It penalizes and counts the generated tokens alone.
 * `lengthPenalty`: of short answers, -1 with T5, 0 with a decoder (predict_answers of LAVIS' models).
 */
export function presetsOf(
  ofModel: Pick<Partial<GenerationSettings>, 'max_new_tokens' | 'repetition_penalty' | 'zero_id_as_two'>,
  lengthPenalty: number,
): ModelDescription['presets'] {
  const beams = { num_beams: 5, min_length: 1, penalize_answer_only: true }
  return {
    paper: { ...beams, length_penalty: 1, ...ofModel },
    'paper-short': { ...beams, length_penalty: lengthPenalty, max_new_tokens: 10 },
  }
}

export function rejectBlip2({ vision, qformer }: Blip2Parts, reject: Reject): void {
  rejectHeads('vision', vision, reject)
  rejectHeads('qformer', qformer, reject)
  const { image_size: image, patch_size: patch } = vision
  const sizes = `${image.join('x')} is smaller than a patch of ${patch.join('x')}`
  reject(image[0] < patch[0] || image[1] < patch[1], `vision_config.image_size ${sizes}`)
}

export function describePicture({ vision, qformer: { hidden_size }, num_query_tokens }: Blip2Parts) {
  return {
    vision: { image: vision.image_size, patches: patchCount(vision), width: vision.hidden_size },
    queries: {
      count: num_query_tokens,
      width: hidden_size,
      reads_text: false,
      text: null,
    },
  } satisfies Partial<ModelDescription>
}

/**
 * vision [B, P, Dv], and with `readsText` ids [B, T] and their mask -> queries [B, Q, Dq], and prefix [B, Q, D] in the width D
 * of the language model. A Q-Former that reads text (InstructBLIP) has embeddings of its own.
 */
export function queriesGraph(
  weights: Weights,
  { num_query_tokens: Q, qformer: config, vision }: Blip2Parts,
  D: number,
  { readsText }: { readsText: boolean } = { readsText: false },
): Graph {
  return graphOf(QUERIES.graph, weights, (root) => {
    const { g } = root
    const { hidden_size: width } = vision
    const { hidden_size: Dq } = config
    const input = g.input(QUERIES.vision, 'float32', ['B', patchCount(vision), width])
    const textInput = (name: string) => g.input(name, 'int64', ['B', 'T'])
    const tokens = root.parameter('query_tokens', [1, Q, Dq])
    const part = root.at('qformer')
    const embeddings = part.at('embeddings')
    const norm = readsText ? embeddings.at('layernorm') : part.at('layernorm')
    if (!readsText && config.use_qformer_text_input) ignoreTextBranch(part, config)
    const { queries } = qformer(part, norm, config, {
      queries: { tokens, count: Q, vision: input, width },
      text: readsText
        ? { ids: textInput(QUERIES.text_ids), mask: textInput(QUERIES.text_mask), embeddings }
        : undefined,
    })
    const prefix = linear(root.at('language_projection'), queries!, [Dq, D]) // [B, Q, D]
    g.output(QUERIES.queries, queries!, 'float32', ['B', Q, Dq])
    g.output(QUERIES.prefix, prefix, 'float32', ['B', Q, D])
  })
}

// BLIP-2 for matching: whether a text is about a picture, and vectors to compare the two by. Salesforce/blip2-itm-vit-g,
// -coco and their fine-tuned versions. It generates no text: `text_config` in its config.json means nothing.
//
//   pixels [B, 3, H, W] -> vision [B, P, Dv]
//   vision [I, P, Dv], ids [B, T] -> queries beside the text [B, Q, Dq] -> matching logits [B, 2], mean over the queries
//   vision [I, P, Dv], a masked text -> queries of the picture alone -> image embeds [B, Q, E], of length 1
//   ids [B, T] -> text alone [B, T, Dq] -> text embeds [B, T, E], of length 1
//
// E width of the embeds; other letters: blip2-opt.ts. Li et al. 2023 (arXiv 2301.12597), section 3.1 and figure 2;
// transformers 5.18, Blip2ForImageTextRetrieval, Blip2TextModelWithProjection.

import { z } from 'zod'
import { MATCHING, type ModelDescription, TEXT } from '../artifact/contract.ts'
import type { Weights } from '../checkpoint/weights.ts'
import type { Graph, Value } from '../onnx/graph.ts'
import { BLIP2_ITM } from '../quantize/recipes.ts'
import { architecture } from './architecture.ts'
import { blip2Fields, blip2Parts, describePicture, rejectBlip2 } from './blip2.ts'
import { rejecting, size } from './config.ts'
import { linear } from './layers.ts'
import { graphOf, type Part } from './part.ts'
import { qformer } from './queries.ts'
import { patchCount, visionGraph } from './vision.ts'

/** Begins the names of the tokenizer's files in an artifact, which may hold another tokenizer too. */
const TOKENIZER = 'matching_'
/** The least length that a vector is divided by (torch.nn.functional.normalize). */
const SHORTEST = 1e-12

const config = z
  .object({ ...blip2Fields, image_text_hidden_size: size.default(256) })
  .transform((file) => ({ ...blip2Parts(file), embedding_width: file.image_text_hidden_size }))
  .superRefine((parts, context) => {
    const reject = rejecting(context)
    rejectBlip2(parts, reject)
    const isTextless = !parts.qformer.use_qformer_text_input
    reject(isTextless, 'qformer_config.use_qformer_text_input is false, and matching reads a text')
  })
type Config = z.output<typeof config>

export const blip2Itm = architecture({
  name: 'blip2-itm',
  examples: 'Blip2ForImageTextRetrieval, such as Salesforce/blip2-itm-vit-g',
  recognizes: ({ model_type, architecture: task }) =>
    model_type === 'blip-2' && task === 'Blip2ForImageTextRetrieval',
  config,
  untied: (config) => config,
  describe,
  tokenizers: ({ qformer }) => [{ folder: '', prefix: TOKENIZER, vocabulary: qformer.vocab_size }],
  recipe: BLIP2_ITM,
  build: (config, weights) => [
    visionGraph(weights, config.vision),
    matchingGraph(weights, config),
    textGraph(weights, config),
  ],
})

function describe({ embedding_width, ...parts }: Config) {
  const { hidden_size: width, vocab_size: vocabulary, max_position_embeddings: positions } = parts.qformer
  return {
    tasks: ['match', 'features'],
    ...describePicture(parts),
    matching: {
      count: parts.num_query_tokens,
      width,
      text: { tokenizer: TOKENIZER, vocabulary, positions },
      embedding_width,
    },
    language: { kind: 'none' },
    prompt: { caption: '', question: '', turn: '', turns: null },
    generation: {},
    presets: {},
    unknown: [],
  } satisfies Omit<ModelDescription, 'architecture'>
}

/** The graph `matching`: see MATCHING of artifact/contract.ts. */
function matchingGraph(weights: Weights, config: Config): Graph {
  const { num_query_tokens: Q, vision, qformer: qformerConfig, embedding_width: E } = config
  const { hidden_size: Dq } = qformerConfig
  return graphOf(MATCHING.graph, weights, (root) => {
    const { g } = root
    const input = g.input(MATCHING.vision, 'float32', ['I', patchCount(vision), vision.hidden_size])
    const tokens = root.parameter('query_tokens', [1, Q, Dq])
    const { queries } = qformer(root.at('qformer'), root.at('qformer.layernorm'), qformerConfig, {
      queries: { tokens, count: Q, vision: input, width: vision.hidden_size },
      text: textInput(root),
    })
    const embeds = projected(root.at('vision_projection'), queries!, [Dq, E]) // [B, Q, E]
    const head = root.at('itm_head')
    const scores = linear(head, queries!, [Dq, 2]) // [B, Q, 2]
    const logits = head.op('ReduceMean', [scores, g.int64(1)], { keepdims: 0 }) // [B, 2]
    g.output(MATCHING.query_hidden, queries!, 'float32', ['B', Q, Dq])
    g.output(MATCHING.image_embeds, embeds, 'float32', ['B', Q, E])
    g.output(MATCHING.itm_logits, logits, 'float32', ['B', 2])
  })
}

/** The graph `text`: see TEXT of artifact/contract.ts. */
function textGraph(weights: Weights, { qformer: qformerConfig, embedding_width: E }: Config): Graph {
  const { hidden_size: Dq } = qformerConfig
  return graphOf(TEXT.graph, weights, (root) => {
    const part = root.at('qformer')
    const { text } = qformer(part, part.at('layernorm'), qformerConfig, { text: textInput(root) })
    const embeds = projected(root.at('text_projection'), text!, [Dq, E]) // [B, T, E]
    root.g.output(TEXT.text_hidden, text!, 'float32', ['B', 'T', Dq])
    root.g.output(TEXT.text_embeds, embeds, 'float32', ['B', 'T', E])
  })
}

function textInput(root: Part) {
  return {
    ids: root.g.input(MATCHING.text_ids, 'int64', ['B', 'T']),
    mask: root.g.input(MATCHING.text_mask, 'int64', ['B', 'T']),
    embeddings: root.at('embeddings'),
  }
}

/** x [..., D] -> [..., E] of length 1 */
function projected(part: Part, x: Value, sizes: [D: number, E: number]): Value {
  const y = linear(part, x, sizes) // [..., E]
  const length = part.op('ReduceL2', [y, part.g.int64(-1)], { keepdims: 1 }) // [..., 1]
  return part.op('Div', [y, part.op('Max', [length, part.g.scalar(SHORTEST)])])
}

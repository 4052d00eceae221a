// The bodies of responses as zod schemas, for the OpenAPI document. The contract test checks real responses against them.

import { z } from 'zod'
import { aboutSchema } from '../../engine/protocol.ts'
import { TASKS, type TaskName } from '../../engine/tasks.ts'
import { PRECISIONS } from '../../quantize/recipes.ts'

const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const ms = z.number().nonnegative()

const timings = z
  .object({ queue: ms, image: ms, pixels: ms, vision: ms, queries: ms, tokens: ms, total: ms })
  .meta({
    id: 'Timings',
    description: 'Milliseconds in each stage; 0 for a stage whose result was in the cache',
  })

const base = {
  text: z.string().meta({ description: 'the result in words' }),
  timings_ms: timings,
  model: z.string(),
  picture: z.string().meta({ description: "sha256 of the picture's bytes; empty without a picture" }),
}

export const RESULTS: Record<TaskName, z.ZodType> = {
  caption: TASKS.caption.result.extend(base).meta({ id: 'Caption' }),
  answer: TASKS.answer.result.extend(base).meta({ id: 'Answer' }),
  match: TASKS.match.result.extend(base).meta({ id: 'Matches' }),
  features: TASKS.features.result.extend(base).meta({ id: 'Features' }),
}

export const problem = z
  .object({
    error: z.object({
      code: z.string().meta({ description: 'stable, for programs', examples: ['not_a_picture'] }),
      message: z.string().meta({ description: 'what was expected, what came, what to do' }),
      retry: z.boolean().meta({ description: 'whether the same request may succeed later' }),
      request_id: z.string().optional().meta({ description: 'finds the request in the log' }),
    }),
  })
  .meta({ id: 'Error' })

export const openAiProblem = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string().meta({ examples: ['invalid_request_error'] }),
      param: z.null(),
      code: z.string(),
      request_id: z.string().optional(),
    }),
  })
  .meta({ id: 'OpenAiError', description: "the envelope of OpenAI's API" })

/** Data of the event `token` of a stream. */
export const token = z
  .object({ text: z.string() })
  .meta({ id: 'TokenEvent', description: 'a piece of the text' })

const record = z
  .object({
    id: z.string(),
    sha256,
    size_bytes: z.number().int(),
    date: z.iso.datetime(),
    metadata: z.record(z.string(), z.unknown()).nullable(),
  })
  .meta({ id: 'Picture', description: 'a picture of a collection; its bytes are not kept' })
const ofCollections = { model: z.string(), timings_ms: z.object({ queue: ms, total: ms }) }
const collection = z
  .object({ name: z.string(), pictures: z.number().int(), model: z.string() })
  .meta({ id: 'Collection' })

export const COLLECTIONS = {
  all: z.object({ collections: z.array(collection) }),
  one: collection,
  picture: record,
  put: z.object({ ...record.shape, ...ofCollections }),
  page: z.object({ pictures: z.array(record), total: z.number().int() }),
  found: z.object({
    results: z.array(
      z.object({
        ...record.shape,
        contrastive: z.number().meta({ description: 'score of the terms, best 1' }),
        probability: z.number().nullable().meta({
          description: 'that the text is about the picture; null where the model did not read both',
        }),
      }),
    ),
    judged: z.number().int().meta({ description: 'pictures whose probability was computed' }),
    ...ofCollections,
  }),
}

export const upload = z
  .object({
    upload: z.string().meta({ description: 'to send in place of the picture' }),
    url: z.string(),
    method: z.literal('PUT'),
    headers: z.record(z.string(), z.string()).meta({ description: 'to send with the PUT' }),
    expires_at: z.iso.datetime(),
  })
  .meta({ id: 'Upload' })

export const card = z
  .object({
    name: z.string(),
    precision: z.enum(PRECISIONS).optional(),
    provider: z.string().optional().meta({ description: 'the execution provider in use' }),
    fallback: z.string().optional().meta({ description: 'why it is not the configured one' }),
    threads: z.number().int().optional(),
    processor: z
      .object({
        arch: z.string(),
        dot_products: z.string().nullable(),
        settings: z.record(z.string(), z.string()),
      })
      .optional(),
    about: aboutSchema.optional(),
    instructions: z.literal(true).optional(),
    vectors: z.object({ key: z.string(), count: z.number().int(), width: z.number().int() }).optional(),
  })
  .meta({ id: 'Model' })

export const alive = z.object({ alive: z.literal(true) })
export const readiness = z
  .object({
    ready: z.boolean(),
    reason: z.string().optional(),
    model: z.string().optional(),
    provider: z.string().optional(),
    fallback: z.string().optional(),
    load: z.number().int().optional().meta({ description: 'requests that wait or run' }),
  })
  .meta({ id: 'Readiness' })

const usage = z.object({ prompt_tokens: z.number().int(), total_tokens: z.number().int() })
const finish_reason = z.enum(['stop', 'length'])
const ofCompletions = { id: z.string(), created: z.number().int(), model: z.string() }
const completionUsage = usage.extend({ completion_tokens: z.number().int() })
const listed = z
  .object({
    id: z.string(),
    object: z.literal('model'),
    created: z.number().int(),
    owned_by: z.string(),
  })
  .meta({ id: 'OpenAiModel' })

export const OPENAI = {
  model: listed,
  models: z.object({ object: z.literal('list'), data: z.array(listed) }),
  completion: z
    .object({
      ...ofCompletions,
      object: z.literal('chat.completion'),
      choices: z.array(
        z.object({
          index: z.number().int(),
          message: z.object({ role: z.literal('assistant'), content: z.string(), refusal: z.null() }),
          logprobs: z.null(),
          finish_reason,
        }),
      ),
      usage: completionUsage,
    })
    .meta({ id: 'ChatCompletion' }),
  chunk: z
    .object({
      ...ofCompletions,
      object: z.literal('chat.completion.chunk'),
      choices: z.array(
        z.object({
          index: z.number().int(),
          delta: z.object({ role: z.literal('assistant').optional(), content: z.string().optional() }),
          logprobs: z.null(),
          finish_reason: finish_reason.nullable(),
        }),
      ),
      usage: completionUsage.optional(),
    })
    .meta({ id: 'ChatCompletionChunk' }),
}

const vector = z.union([z.array(z.number()), z.string().meta({ description: 'base64 of float32' })])
const score = z.number()
export const VECTORS = {
  embeddings: z
    .object({
      object: z.literal('list'),
      data: z.array(
        z.object({
          object: z.literal('embedding'),
          index: z.number().int(),
          embedding: z.union([vector, z.array(vector)]),
        }),
      ),
      model: z.string(),
      usage,
    })
    .meta({ id: 'Embeddings' }),
  rerank: z
    .object({
      model: z.string(),
      results: z.array(
        z.object({
          index: z.number().int(),
          relevance_score: score,
          document: z.object({ text: z.string() }).optional(),
        }),
      ),
    })
    .meta({ id: 'Ranking' }),
  classify: z
    .object({
      object: z.literal('list'),
      model: z.string(),
      data: z.array(
        z.object({
          object: z.literal('classification'),
          index: z.number().int(),
          prediction: z.string(),
          score,
          predictions: z.array(z.object({ label: z.string(), score })),
        }),
      ),
    })
    .meta({ id: 'Classification' }),
}

// POST /v1/embeddings: texts and pictures -> a vector for each, in the form of OpenAI's API, with Jina's and vLLM's inputs.
//
// A client that takes one vector gets, of a picture, the mean of its vectors, of length 1. Its product with a text's vector is
// not the contrastive score, which is the largest of 32: `return_multivector` gives all.

import { z } from 'zod'
import type { Engine } from '../../engine/engine.ts'
import { RequestError } from '../../errors.ts'
import type { ParsedRequest } from '../request.ts'
import { type Input, inOrder, inputSchema, inputsSchema, parsedOf, readBody } from './body.ts'

export const embeddingsBody = z
  .looseObject({
    model: z.string().optional(),
    input: z.union([inputsSchema, inputSchema.transform((one) => [one])]).optional(),
    messages: z
      .array(
        z.looseObject({
          content: z.union([z.string(), z.array(z.looseObject({ type: z.string().optional() }))]),
        }),
      )
      .max(1)
      .optional(),
    dimensions: z.number().int().positive().optional(),
    encoding_format: z.enum(['float', 'base64']).default('float'),
    return_multivector: z.boolean().default(false),
  })
  .transform(({ input, messages, ...rest }, context) => {
    const content = messages?.[0]?.content
    const parts = input ?? inputsSchema.safeParse([content ?? []].flat()).data
    if (parts) return { ...rest, input: parts }
    context.addIssue('expected input, a text or a list of texts and {image}, or messages with one message')
    return z.NEVER
  })

export async function readEmbeddings(request: Request): Promise<ParsedRequest> {
  const { fields, inputOf, sha256 } = await readBody(request, embeddingsBody)
  const { encoding_format, dimensions, return_multivector } = fields
  const inputs = fields.input.map(inputOf)
  return parsedOf('features', sha256, async (engine, signal) => {
    const found = await inOrder(inputs, signal, (input, signal) => embed(engine, input, signal))
    const width = found[0]!.rows[0]!.length
    if (dimensions !== undefined && dimensions !== width) {
      const message = `Expected dimensions ${width}, which the model's vectors have, but got ${dimensions}. Leave it out.`
      throw new RequestError('bad_field', message)
    }
    const written = (row: Float32Array) =>
      encoding_format === 'float'
        ? [...row]
        : Buffer.from(row.buffer, row.byteOffset, row.byteLength).toString('base64')
    const data = found.map(({ rows }, index) => ({
      object: 'embedding',
      index,
      embedding: return_multivector ? rows.map(written) : written(meanOf(rows)),
    }))
    const tokens = found.reduce((sum, one) => sum + one.tokens, 0)
    const { model } = found[0]!
    return {
      model,
      body: { object: 'list', data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } },
    }
  })
}

/** Vectors of length 1: of a picture all, of a text the one that it is compared by. */
async function embed(engine: Engine, input: Input, signal: AbortSignal) {
  const kind = 'text' in input ? 'text_embeds_proj' : 'image_embeds_proj'
  const request = {
    task: 'features',
    kinds: [kind],
    encoding_format: 'base64',
    ...input,
  } as const
  const { features, model } = await engine.answer<'features'>(request, { signal })
  const { shape, data } = features[kind]!
  const values = new Float32Array(new Uint8Array(Buffer.from(data as string, 'base64')).buffer)
  const [count = 0, width = 0] = shape
  const length = 'text' in input ? 1 : count
  const rows = Array.from({ length }, (_, i) => values.slice(i * width, (i + 1) * width))
  return { model, rows, tokens: count }
}

function meanOf(rows: readonly Float32Array[]): Float32Array {
  const sum = rows[0]!.map((_, i) => rows.reduce((total, row) => total + row[i]!, 0))
  const length = Math.hypot(...sum) || 1
  return sum.map((value) => value / length)
}

// POST /v1/classify: pictures and labels -> the label that fits each picture best, in the form of Jina's API.

import { z } from 'zod'
import { classify } from '../../engine/classify.ts'
import { textField } from '../../engine/tasks/generate.ts'
import { textProcessing } from '../../engine/tasks/text.ts'
import { RequestError } from '../../errors.ts'
import type { ParsedRequest } from '../request.ts'
import { inOrder, inputsSchema, parsedOf, readBody } from './body.ts'

/** As many as the classes of ImageNet. */
const MAX_LABELS = 1_000

export const classifyBody = z.looseObject({
  model: z.string().optional(),
  input: inputsSchema,
  labels: z.array(textField).min(2).max(MAX_LABELS),
  template: textField
    .refine((text) => text.includes('{}'), 'must have {} in the place of the label')
    .optional(),
  rank_by: z.enum(['probability', 'contrastive']).default('contrastive'),
  text_processing: textProcessing.optional(),
})

export async function readClassify(request: Request): Promise<ParsedRequest> {
  const { fields, inputOf, sha256 } = await readBody(request, classifyBody)
  const { labels, template, rank_by, text_processing } = fields
  const images = fields.input.map(inputOf).map((input) => {
    if ('image' in input) return input.image
    throw new RequestError(
      'bad_field',
      'Expected pictures in input, as {"image": "data:..."}, but got a text.',
    )
  })
  return parsedOf('match', sha256, async (engine, signal) => {
    const found = await inOrder(images, signal, (image, signal) =>
      classify(engine, { image }, labels, {
        template,
        rank_by,
        text_processing,
        signal,
      }),
    )
    const data = found.map((predictions, index) => {
      const { label: prediction, score } = predictions[0]!
      return { object: 'classification', index, prediction, score, predictions }
    })
    const model = engine.model.name
    return { model, body: { object: 'list', model, data } }
  })
}

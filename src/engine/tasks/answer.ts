// A picture, a question and the turns before it -> an answer.

import { z } from 'zod'
import { RequestError } from '../../errors.ts'
import { type GenerateFields, generateFields, generateSteps, textField } from './generate.ts'

/** The context of the language model has room for a few. */
const MAX_TURNS = 100

export const answer = {
  ...generateSteps,
  fields: z.strictObject({
    ...generateFields,
    question: textField.optional(),
    history: z
      .array(z.strictObject({ question: textField, answer: textField }))
      .max(MAX_TURNS)
      .optional(),
  }),
  checkFields({ question = '', prompt, history }: GenerateFields): void {
    const hasQuestion = question.trim() !== ''
    if (!hasQuestion && prompt === undefined) {
      const message =
        'Expected a question in the field question but got none. For a caption use POST /v1/caption.'
      throw new RequestError('no_question', message)
    }
    if (prompt !== undefined && (hasQuestion || history !== undefined)) {
      const message = 'Expected prompt, or question and history, but got both. Send one or the other.'
      throw new RequestError('bad_field', message)
    }
  },
  sample: { question: 'what is it?' },
}

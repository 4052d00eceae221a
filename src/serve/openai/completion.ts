// A result -> a chat completion: one JSON body, or `chat.completion.chunk` events and `[DONE]`.

import { randomUUID } from 'node:crypto'
import type { BaseResult, InferenceResult } from '../../engine/request.ts'
import type { ResponseForm, ServerEvent } from '../response-form.ts'
import { envelopeOf } from './envelope.ts'
import { cutAtStop, settledBeforeStop } from './stop.ts'

export interface CompletionOptions {
  model: string
  /** Choices in the response. A result with fewer sequences repeats its only one. */
  choices: number
  stops: readonly string[]
  /** Whether a stream ends with a chunk of the token counts. */
  includesUsage: boolean
}

export function completionForm(options: CompletionOptions): ResponseForm {
  const id = `chatcmpl-${randomUUID()}`
  const created = Math.floor(Date.now() / 1000)
  /** Text of the first choice: what arrived, and how much of it was sent. */
  let arrived = ''
  let sent = ''
  let hasBegun = false

  const event = (fields: object): ServerEvent => ({
    data: JSON.stringify({ id, object: 'chat.completion.chunk', created, model: options.model, ...fields }),
  })
  const chunk = (index: number, delta: object, finish_reason: string | null = null) =>
    event({ choices: [{ index, delta, logprobs: null, finish_reason }] })
  const begin = () => {
    if (hasBegun) return []
    hasBegun = true
    return [chunk(0, { role: 'assistant', content: '' })]
  }
  const choicesOf = ({ sequences }: InferenceResult) =>
    Array.from({ length: options.choices }, (_, index) => {
      const { text, finish_reason } = sequences[index] ?? sequences[0]!
      const content = cutAtStop(text, options.stops)
      const isCut = content.length < text.length
      return {
        index,
        content: isCut ? content.trimEnd() : content,
        finish_reason: isCut ? 'stop' : finish_reason,
      }
    })

  return {
    json(result) {
      const reply = result as InferenceResult
      return {
        id,
        object: 'chat.completion',
        created,
        model: reply.model,
        choices: choicesOf(reply).map(({ index, content, finish_reason }) => ({
          index,
          message: { role: 'assistant', content, refusal: null },
          logprobs: null,
          finish_reason,
        })),
        usage: usageOf(reply),
      }
    },
    token(text) {
      arrived += text
      const settled = settledBeforeStop(arrived, options.stops)
      const piece = settled.slice(sent.length)
      if (piece === '') return begin()
      sent = settled
      return [...begin(), chunk(0, { content: piece })]
    },
    reply(result) {
      const reply = result as InferenceResult
      const events = choicesOf(reply).flatMap(({ index, content, finish_reason }) => {
        const rest = index > 0 ? content : content.slice(sent.length)
        const first = index > 0 ? [chunk(index, { role: 'assistant', content: '' })] : begin()
        const text = rest === '' ? [] : [chunk(index, { content: rest })]
        return [...first, ...text, chunk(index, {}, finish_reason)]
      })
      if (options.includesUsage) events.push(event({ choices: [], usage: usageOf(reply) }))
      return [...events, { data: '[DONE]' }]
    },
    error: (error) => [{ data: JSON.stringify(envelopeOf(error)) }],
  }
}

function usageOf({ prompt_tokens, sequences }: InferenceResult & BaseResult) {
  const completion_tokens = sequences.reduce((sum, { token_ids }) => sum + token_ids.length, 0)
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

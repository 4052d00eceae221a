// Bodies that the server accepts, for the OpenAPI document. The contract test sends each of them.

import type { TaskName } from '../../engine/tasks.ts'

/** The smallest PNG: 1 x 1 pixels. */
export const TINY =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='
export const TINY_URL = `data:image/png;base64,${TINY}`

export const TASK_EXAMPLES: Record<TaskName, Record<string, unknown>> = {
  caption: {
    picture: { image: TINY },
    beams: { image: TINY_URL, settings: { num_beams: 3, max_new_tokens: 30 } },
  },
  answer: {
    question: { image: TINY, question: 'what is this?' },
    conversation: {
      image: TINY,
      question: 'what color is it?',
      history: [{ question: 'what is this?', answer: 'a car' }],
    },
  },
  match: { texts: { image: TINY, texts: ['a cat', 'a dog'] } },
  features: { text: { text: 'two guitars', kinds: ['text_embeds_proj'], encoding_format: 'base64' } },
}

export const CHAT_EXAMPLES = {
  caption: {
    model: 'any',
    messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: TINY_URL } }] }],
  },
  question: {
    model: 'any',
    max_tokens: 20,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: TINY_URL } },
          { type: 'text', text: 'what is this?' },
        ],
      },
    ],
  },
}

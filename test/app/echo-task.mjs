// The task `echo`, as one row of src/engine/tasks.ts: a picture and a word -> the word, and the size of the picture's
// image embeddings. JavaScript, because the model process runs it as well, from dist/.

import { z } from 'zod'

export const echo = {
  fields: z.strictObject({
    word: z.string().max(20),
    times: z.number().int().min(1).max(3).optional(),
    tags: z.array(z.string()).optional(),
  }),
  result: z.object({
    text: z.string(),
    echoed: z.array(z.string()),
    embeddings: z.array(z.number()),
    tags: z.array(z.string()),
  }),
  reads: () => ['prefix'],
  sample: { word: 'hello' },
  rows: () => 1,
  prepare: (_, { word, times = 2, tags = [] }) => ({ echoed: new Array(times).fill(word), tags }),
  async run(_, requests) {
    for (const { prepared, outputs, onToken, finish } of requests) {
      const { echoed, tags } = prepared
      for (const word of echoed) onToken?.(`${word} `)
      finish({ own: { text: echoed.join(' '), echoed, embeddings: [...outputs.prefix.dims], tags } })
    }
  },
}

/** Adds the row. */
export function addEcho({ TASKS, TASK_NAMES }) {
  TASKS.echo = echo
  TASK_NAMES.push('echo')
}

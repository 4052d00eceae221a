// Messages of the chat completions API -> the picture that is meant, the question about it, and the turns before it.
//
// The newest picture is meant. What was said before it was about another one, and is left out. BLIP-2 reads no instructions,
// so messages of the roles `system` and `developer` are passed over.

import { z } from 'zod'
import { RequestError } from '../../errors.ts'
import type { Turn } from '../../tokens/prompt.ts'

const part = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text'), text: z.string() }),
  z.looseObject({ type: z.literal('refusal'), refusal: z.string() }),
  z.looseObject({
    type: z.literal('image_url'),
    image_url: z.union([z.string(), z.looseObject({ url: z.string() })]),
  }),
])
const content = z.union([z.string(), z.array(part)])

export const messagesSchema = z
  .array(
    z.discriminatedUnion('role', [
      z.looseObject({ role: z.enum(['system', 'developer']), content: z.unknown() }),
      z.looseObject({ role: z.literal('user'), content }),
      z.looseObject({ role: z.literal('assistant'), content: content.nullish() }),
    ]),
  )
  .min(1)

type Message = z.infer<typeof messagesSchema>[number]
type Said = Exclude<Message, { role: 'system' | 'developer' }>

export interface Conversation {
  /** As the client wrote it: a data URL. */
  pictureUrl: string
  /** '' when the last message has a picture only. */
  question: string
  /** Oldest first. */
  history: Turn[]
}

/** @throws RequestError `no_picture`, or `bad_field` when the last message is not the user's */
export function readConversation(messages: readonly Message[]): Conversation {
  const said = messages.filter((message): message is Said => !isInstruction(message))
  const from = said.findLastIndex((message) => message.role === 'user' && picturesOf(message).length > 0)
  if (from < 0) {
    const message =
      'Expected a picture but got none. Send {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}} in a message of the user.'
    throw new RequestError('no_picture', message)
  }
  const last = said.at(-1)!
  if (last.role !== 'user') {
    throw new RequestError(
      'bad_field',
      `Expected the last message to be the user's but its role is ${last.role}.`,
    )
  }
  const pictureUrl = picturesOf(said[from]!).at(-1)!
  // Each answer belongs to the message before it. A message without words asked for a caption, which is no turn.
  const history = said.slice(from, -1).flatMap((message, index, all): Turn[] => {
    const reply = all[index + 1]
    const turn = { question: textOf(message), answer: reply ? textOf(reply) : '' }
    const isTurn = message.role === 'user' && reply?.role === 'assistant' && turn.question && turn.answer
    return isTurn ? [turn] : []
  })
  return { pictureUrl, question: textOf(last), history }
}

function isInstruction({ role }: Message): boolean {
  return role === 'system' || role === 'developer'
}

function partsOf({ content }: Said) {
  return typeof content === 'string' || !content ? [] : content
}

function picturesOf(message: Said): string[] {
  return partsOf(message).flatMap((part) => {
    if (part.type !== 'image_url') return []
    return [typeof part.image_url === 'string' ? part.image_url : part.image_url.url]
  })
}

function textOf(message: Said): string {
  if (typeof message.content === 'string') return message.content.trim()
  return partsOf(message)
    .flatMap((part) => (part.type === 'text' ? [part.text] : []))
    .join('\n')
    .trim()
}

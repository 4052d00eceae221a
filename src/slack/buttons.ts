// The buttons under a reply. A button's value says who asked, and the conversation of the reply: Slack does not say it of a
// message that one person sees. Source: docs.slack.dev, "Button element".

import type { types } from '@slack/bolt'
import { z } from 'zod'
import { type Action, actionsUnder, isCaption } from '../chat/again.ts'
import type { ChatReply } from '../chat/compose.ts'
import type { Question } from '../chat/question.ts'
import { plain } from './render.ts'

export const actionId = (action: Action) => `reply_${action}`

export const valueSchema = z.object({
  asker: z.string(),
  conversation: z.string(),
  isCaption: z.boolean().optional(),
})
export type ButtonValue = z.infer<typeof valueSchema>

/** Whether these blocks are those of a reply by Glimpse. */
export function hasButtons(blocks: unknown): boolean {
  const parsed = z
    .array(z.object({ elements: z.array(z.object({ action_id: z.string() })) }))
    .safeParse(
      Array.isArray(blocks)
        ? blocks.filter((block) => (block as { type?: unknown })?.type === 'actions')
        : [],
    )
  const ids = parsed.data?.flatMap(({ elements }) => elements.map((each) => each.action_id)) ?? []
  return ids.includes(actionId('ask')) && ids.includes(actionId('again'))
}

/** The last block of a message with this reply. */
export function buttonsOf(reply: ChatReply, { asker, conversations }: Question): types.ActionsBlock[] {
  const { button } = reply.messages
  const about: ButtonValue = {
    asker: asker.id,
    conversation: conversations[0]!,
    isCaption: isCaption(reply) || undefined,
  }
  const value = JSON.stringify(about)
  const elements = actionsUnder(reply).map(
    (action): types.Button => ({
      type: 'button',
      action_id: actionId(action),
      text: plain(button[action]),
      value,
    }),
  )
  return elements.length === 0 ? [] : [{ type: 'actions', elements }]
}

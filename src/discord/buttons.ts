// The buttons under a reply and the modal of "ask": their payloads, and what their ids say.
//
// An id has the button's action and the id of the person who asked: `again:123`, `again:123:caption`. That of the modal has the reply's id.
// Source: docs.discord.com/developers, "Component reference" and "Receiving and responding".

import {
  ButtonStyle,
  ComponentType,
  InteractionResponseType,
  PermissionFlagsBits,
  TextInputStyle,
} from 'discord.js'
import { z } from 'zod'
import { ACTIONS, type Action, actionsUnder, isCaption } from '../chat/again.ts'
import type { ChatReply } from '../chat/compose.ts'
import type { Messages } from '../i18n/messages.ts'

const MODAL = 'question'
/** Third part of the ids under a reply with captions. */
const CAPTION = 'caption'
const MAX_QUESTION_CHARACTERS = 500

/** Components of a message with this reply. */
export function buttonsOf(reply: ChatReply, asker: string): object[] {
  const { button } = reply.messages
  const components = actionsUnder(reply).map((action) => ({
    type: ComponentType.Button,
    style: ButtonStyle.Secondary,
    label: button[action],
    custom_id: [action, asker, ...(isCaption(reply) ? [CAPTION] : [])].join(':'),
  }))
  return components.length === 0 ? [] : [{ type: ComponentType.ActionRow, components }]
}

/** Whether a message is a reply with these buttons. */
export function hasButtons({ components }: { components?: unknown }): boolean {
  const rows = z
    .array(z.object({ components: z.array(z.object({ custom_id: z.string() })) }))
    .safeParse(components)
  const ids = rows.data?.flatMap((row) => row.components.map(({ custom_id }) => custom_id)) ?? []
  return ids.some((id) => readButton(id)?.action === 'again')
}

/** The action of a button's id, and who asked. Undefined for an id of another kind. */
export function readButton(
  customId: string | undefined,
): { action: Action; asker: string; isCaption: boolean } | undefined {
  const [name, asker, kind] = (customId ?? '').split(':')
  const action = ACTIONS.find((each) => each === name)
  return action && asker ? { action, asker, isCaption: kind === CAPTION } : undefined
}

/** Whether the permissions in a channel are those of a moderator. */
export function isModerator(permissions: string | undefined): boolean {
  if (!/^\d+$/.test(permissions ?? '')) return false
  const { Administrator, ManageMessages } = PermissionFlagsBits
  return (BigInt(permissions!) & (Administrator | ManageMessages)) !== 0n
}

/** Response that opens a window for a question about the picture of a reply. */
export function questionModal({ modal }: Messages, reply: string): object {
  const input = {
    type: ComponentType.TextInput,
    custom_id: MODAL,
    style: TextInputStyle.Short,
    max_length: MAX_QUESTION_CHARACTERS,
    required: true,
  }
  const components = [{ type: ComponentType.Label, label: modal.question, component: input }]
  const data = { custom_id: `${MODAL}:${reply}`, title: modal.askTitle, components }
  return { type: InteractionResponseType.Modal, data }
}

/** The reply that a submitted modal is about, and the question. */
export function readModal(
  customId: string | undefined,
  components: unknown,
): { reply: string; text: string } | undefined {
  const [name, reply] = (customId ?? '').split(':')
  const text = enteredIn(components)?.trim()
  return name === MODAL && reply && text ? { reply, text } : undefined
}

const entered = z.object({ custom_id: z.literal(MODAL), value: z.string() })

function enteredIn(components: unknown): string | undefined {
  if (typeof components !== 'object' || components === null) return undefined
  const found = entered.safeParse(components).data
  if (found) return found.value
  for (const each of Object.values(components)) {
    const value = enteredIn(each)
    if (value !== undefined) return value
  }
  return undefined
}

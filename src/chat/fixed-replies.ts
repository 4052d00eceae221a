// An intent that needs no model -> a fixed reply in the asker's language: help, who the bot is, thanks, a greeting.

import type { Engine } from '../engine/engine.ts'
import { sha256Hex } from '../hash.ts'
import type { Messages } from '../i18n/messages.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS } from '../time.ts'
import type { ChatReply, ReplyPart } from './compose.ts'
import { type Intent, isDenial } from './intent.ts'
import { personOf, type Question } from './question.ts'

interface FixedDeps {
  engine: Promise<Engine>
  store: Store
}

/** How long a person counts as one who has written to the bot directly. */
const WELCOMED_MS = 90 * 24 * HOUR_MS

/** The reply that these words always get, where the bot is addressed: without the model, the limit and the conversation. */
export async function fixedReply(
  intent: Intent,
  { trigger, isToUs, request, pictures, text }: Question,
  deps: FixedDeps,
  messages: Messages,
): Promise<ChatReply | undefined> {
  const isAddressed = trigger !== 'automatic' && (trigger !== 'follow_up' || isToUs)
  if (!isAddressed || request || (pictures.length > 0 && intent !== 'who')) return undefined
  switch (intent) {
    case 'help':
      return await helpReply(deps, messages)
    case 'who': {
      const sees = await whatItSees(deps)
      return infoReply([messages.small.who, ...(sees ? [sees] : [])].join('\n'), messages)
    }
    case 'thanks':
    case 'greeting':
      return infoReply(messages.small[intent], messages)
    case 'reaction':
      return infoReply(isDenial(text) ? messages.small.denial : messages.small.reaction, messages)
    default:
      return undefined
  }
}

/** How the bot is used, and what its model can see. */
export async function helpReply(deps: FixedDeps, messages: Messages): Promise<ChatReply> {
  const { home } = messages
  const sees = await whatItSees(deps)
  const lines = [`${home.title}.`, ...home.how.map((line) => `• ${line}`), ...(sees ? [sees] : [])]
  return infoReply(lines.join('\n'), messages)
}

function infoReply(text: string, messages: Messages): ChatReply {
  const parts: ReplyPart[] = [{ text, kind: 'info', spoiler: false }]
  return { parts, notes: [], ephemeral: false, messages }
}

/** The model's own sentence about itself, when it is open already. */
async function whatItSees({ engine }: FixedDeps): Promise<string | undefined> {
  const open = await Promise.race([engine.catch(() => undefined), new Promise<void>(setImmediate)])
  return open?.model.about?.sees
}

/** Whether this person has not written to the bot directly before. The answer is the same for a second try of the question. */
export async function isFirstDirect(
  { id, platform, asker }: Question,
  { store }: FixedDeps,
): Promise<boolean> {
  const key = `welcomed/${sha256Hex(personOf(platform, asker.id))}`
  const found = await store.read(key)
  const mark = new TextEncoder().encode(sha256Hex(id))
  if (found) return Buffer.from(found.bytes).equals(mark)
  return (await store.create(key, mark, WELCOMED_MS)) !== undefined
}

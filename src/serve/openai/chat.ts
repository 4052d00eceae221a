// POST /v1/chat/completions: the body of OpenAI's API -> a request for a caption or an answer, and the form of its response.
//
// Pictures are data URLs. No address is fetched. `model` may be any name, because one model is served; the response names it.

import { createHash, randomInt } from 'node:crypto'
import { z } from 'zod'
import { intentOf } from '../../chat/intent.ts'
import type { ModelCard } from '../../engine/protocol.ts'
import { TASKS } from '../../engine/tasks.ts'
import { badBody, readJsonAs } from '../json-body.ts'
import type { ParsedRequest } from '../request.ts'
import { completionForm } from './completion.ts'
import { readConversation } from './conversation.ts'
import { checkUnknown, parametersSchema, settingsOf } from './parameters.ts'

/** Clients send all pictures of a conversation with each message. */
const PICTURES = 2
/** More turns than any model takes. */
const MAX_TURNS = 100

/**
 * @param model the card of the model that is served
 * @throws RequestError with words for the client; BusyError `cancelled` when the client disconnects
 */
export async function readChat(request: Request, model: ModelCard): Promise<ParsedRequest> {
  const { fields: parameters, pictureAt } = await readJsonAs(request, parametersSchema, PICTURES)
  checkUnknown(parameters)

  const { pictureUrl, question, history } = readConversation(parameters.messages)
  const image = pictureAt(pictureUrl)
  const key = request.headers.get('idempotency-key')
  // A request that is sent again with its key must be the same request.
  const seed = () => (key ? createHash('sha256').update(key).digest().readUInt32LE() : randomInt(2 ** 32))
  const settings = settingsOf(parameters, seed)
  const task = asksForCaption(question, model) ? 'caption' : 'answer'
  const fields =
    task === 'caption' ? { settings } : { settings, question, history: history.slice(-MAX_TURNS) }
  const checked = z.object(TASKS[task].fields.shape).safeParse(fields)
  if (!checked.success) throw badBody(checked.error)
  return {
    request: { ...checked.data, image, task },
    stream: parameters.stream ?? false,
    form: completionForm({
      model: model.name,
      choices: parameters.n ?? 1,
      stops: [parameters.stop ?? []].flat().filter((stop) => stop !== ''),
      includesUsage: parameters.stream_options?.include_usage ?? false,
    }),
  }
}

/**
 * A message without words asks for a caption. "Describe this image." does too, unless the model reads instructions: others were
 * trained on questions, and have no answer to it.
 */
function asksForCaption(question: string, { instructions }: ModelCard): boolean {
  return question === '' || (!instructions && intentOf(question) === 'caption')
}

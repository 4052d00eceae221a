// POST /v1/chat/completions: the body of OpenAI's API -> a request for a caption or an answer, and the form of its response.
//
// Pictures are data URLs. No address is fetched. `model` may be any name, because one model is served; the response names it.

import { createHash, randomInt } from 'node:crypto'
import { z } from 'zod'
import { TASKS } from '../../engine/tasks.ts'
import { RequestError } from '../../errors.ts'
import { MAX_PICTURE_BYTES } from '../../image/format.ts'
import { readBytes } from '../fields.ts'
import { MAX_TEXT_BYTES } from '../form.ts'
import { parseWithPictures, pictureAt } from '../json-pictures.ts'
import type { ParsedRequest } from '../request.ts'
import { completionForm } from './completion.ts'
import { readConversation } from './conversation.ts'
import { checkUnknown, parametersSchema, settingsOf } from './parameters.ts'

/** Clients send all pictures of a conversation with each message. */
const MAX_BODY_BYTES = 2 * MAX_PICTURE_BYTES + MAX_TEXT_BYTES
/** More turns than any model takes. */
const MAX_TURNS = 100
/**
 * @param model name of the model that is served
 * @throws RequestError with words for the client; BusyError `cancelled` when the client disconnects
 */
export async function readChat(request: Request, model: string): Promise<ParsedRequest> {
  if (!/^application\/json\b/i.test(request.headers.get('content-type') ?? '')) {
    throw new RequestError(
      'wrong_type',
      'Expected the content type application/json but got another or none.',
    )
  }
  const { json, pictures } = parseWithPictures(await readBytes(request, MAX_BODY_BYTES))
  const parsed = parametersSchema.safeParse(json)
  if (!parsed.success) throw badParameters(parsed.error)
  const parameters = parsed.data
  checkUnknown(parameters)

  const { pictureUrl, question, history } = readConversation(parameters.messages)
  const image = pictureAt(pictureUrl, pictures)
  const key = request.headers.get('idempotency-key')
  // A request that is sent again with its key must be the same request.
  const seed = () => (key ? createHash('sha256').update(key).digest().readUInt32LE() : randomInt(2 ** 32))
  const settings = settingsOf(parameters, seed)
  const task = question === '' ? 'caption' : 'answer'
  const fields =
    task === 'caption' ? { settings } : { settings, question, history: history.slice(-MAX_TURNS) }
  const checked = z.object(TASKS[task].fields.shape).safeParse(fields)
  if (!checked.success) throw badParameters(checked.error)
  return {
    request: { ...checked.data, image, task },
    stream: parameters.stream ?? false,
    form: completionForm({
      model,
      choices: parameters.n ?? 1,
      stops: [parameters.stop ?? []].flat().filter((stop) => stop !== ''),
      includesUsage: parameters.stream_options?.include_usage ?? false,
    }),
  }
}

function badParameters({ issues }: z.ZodError): RequestError {
  const faults = issues.slice(0, 5).map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
  return new RequestError('bad_field', `${faults.join('; ')}.`)
}

// The steps that captions and answers share: image embeddings and prompt -> generated ids -> text.

import { z } from 'zod'
import { QUERIES } from '../../artifact/contract.ts'
import { RequestError } from '../../errors.ts'
import { completeSettings, type GenerationSettings, generationSettings } from '../../generation-settings.ts'
import { Generation, resolveEosTokenIds, rowsOf } from '../../run/generate.ts'
import type { LanguageModel } from '../../run/language-model.ts'
import type { Model } from '../../run/model.ts'
import type { InferenceRequest, InferenceResult } from '../request.ts'
import { fitPrompt, saysUnknown } from './fit-prompt.ts'
import type { ActiveRequest, QueryText, Task } from './task.ts'

export type GenerateFields = Omit<InferenceRequest, 'task' | 'image' | 'picture' | 'deadlineMs'>
type GenerateResult = Pick<
  InferenceResult,
  'text' | 'token_ids' | 'finish_reason' | 'sequences' | 'prompt' | 'prompt_tokens' | 'unknown'
>

export interface Prepared {
  language: LanguageModel
  settings: GenerationSettings
  prompt: string
  ids: readonly number[]
  queryText?: QueryText
}

/** Limits the KV cache, which every row keeps until it is answered: 30 MB a row with opt-2.7b. */
const MAX_ROWS = 32

/** Limit for a question, a prompt, and each question and answer of a history. */
const MAX_CHARACTERS = 2_000

export const textField = z
  .string()
  .max(MAX_CHARACTERS)
  // Tokenizers fail on half of a surrogate pair.
  .refine((value) => !/\p{Surrogate}/u.test(value), 'must be well-formed Unicode')

const token_ids = z.array(z.number())
/** A remote engine of an earlier version sends neither this nor `prompt_tokens`. */
const finish_reason = z.enum(['stop', 'length']).default('stop')

/** All of the task but its request. */
export const generateSteps = {
  result: z.object({
    text: z.string(),
    token_ids,
    finish_reason,
    sequences: z.array(z.object({ text: z.string(), token_ids, finish_reason })),
    prompt: z.string(),
    prompt_tokens: z.number().default(0),
    unknown: z.literal(true).optional(),
  }),
  reads: () => [QUERIES.prefix],
  generates: true,
  prepare(model, request) {
    const { language, manifest } = model
    if (!language) throw new Error(`${manifest.name} has no language model`)
    const settings = completeSettings(request.settings ?? {}, manifest)
    checkEosTokenIds(language, settings)
    const { text, ids, queryText } = fitPrompt(model, language, request)
    const max_new_tokens = Math.min(settings.max_new_tokens, language.room(ids.length))
    return { language, settings: { ...settings, max_new_tokens }, prompt: text, ids, queryText }
  },
  queryText: ({ queryText }) => queryText,
  async run(model, requests) {
    const began = performance.now()
    const { language } = requests[0]!.prepared
    const generation = new Generation(language, {
      suppressTokens: model.nonTokenIds,
      check() {
        if (!requests.some((one) => one.isActive())) throw new Error('Every request was cancelled.')
      },
    })
    const waiting = requests.map((one) => rowOf(model, one, began))
    while (true) {
      const joining = takeFitting(waiting, generation.size)
      if (joining.length > 0) await generation.join(joining)
      if (generation.size === 0) break
      await generation.step()
    }
  },
} satisfies Partial<Task<GenerateFields, GenerateResult, Prepared>>

/** Removes the first requests that fit beside `running` rows, at least one beside none. The others join when rows have left. */
function takeFitting<T extends { settings: GenerationSettings }>(waiting: T[], running: number): T[] {
  let rows = running
  const end = waiting.findIndex(({ settings }, index) => {
    rows += rowsOf(settings)
    return rows > MAX_ROWS && (running > 0 || index > 0)
  })
  return waiting.splice(0, end < 0 ? waiting.length : end)
}

function rowOf(model: Model, one: ActiveRequest<Prepared, GenerateResult>, began: number) {
  const { settings, ids, language, prompt } = one.prepared
  const prefix = one.outputs![QUERIES.prefix]! // [1, Q, D]
  const eosTokenIds = resolveEosTokenIds(language, settings)
  const streamer = one.onToken && textStreamer(model, eosTokenIds, one.onToken)
  return {
    prompt: { prefix, ids, promptCache: one.promptCache },
    settings,
    isWanted: () => one.isActive(),
    onToken: streamer?.put,
    onError: (error: unknown) => one.finish({ error }),
    onDone(answers: number[][]) {
      streamer?.end()
      one.clock.record('tokens', performance.now() - began)
      const sequences = answers.map((token_ids) => ({
        text: model.tokenizer.decode(token_ids).trim(),
        token_ids,
        finish_reason: eosTokenIds.includes(token_ids.at(-1)!) ? ('stop' as const) : ('length' as const),
      }))
      const prompt_tokens = prefix.dims[1]! + ids.length
      const unknown = saysUnknown(model.manifest, sequences[0]!.text) ? ({ unknown: true } as const) : {}
      one.finish({ own: { ...sequences[0]!, sequences, prompt, prompt_tokens, ...unknown } })
    },
  }
}

function checkEosTokenIds(language: LanguageModel, settings: GenerationSettings): void {
  const { vocabulary } = language
  const outside = resolveEosTokenIds(language, settings).find((id) => id >= vocabulary)
  if (outside === undefined) return
  throw new RequestError(
    'bad_settings',
    `Expected eos_token_id below the model's vocabulary of ${vocabulary} but got ${outside}.`,
  )
}

/** Returns functions that turn token ids into pieces of text. What a later token may change waits for it. */
function textStreamer({ tokenizer }: Model, eosTokenIds: readonly number[], onToken: (text: string) => void) {
  const ids: number[] = []
  let emitted = ''
  const emit = (decoded: string) => {
    const text = decoded.trimStart()
    if (text.length > emitted.length && text.startsWith(emitted)) onToken(text.slice(emitted.length))
    emitted = text
  }
  return {
    put(id: number) {
      if (eosTokenIds.includes(id)) return
      ids.push(id)
      emit(tokenizer.decodeSettled(ids))
    },
    /** Emits what waits. An incomplete last character is U+FFFD, as the final text has it. */
    end: () => emit(tokenizer.decode(ids)),
  }
}

/** The fields that captions and answers share. */
export const generateFields = {
  prompt: textField.optional(),
  settings: generationSettings.partial().meta({ id: 'GenerationSettings' }).optional(),
}

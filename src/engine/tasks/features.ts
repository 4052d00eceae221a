// A picture, a text, or both -> their features: outputs of the stages, under the names of LAVIS' extract_features.

import { z } from 'zod'
import { MATCHING, QUERIES, TEXT, VISION } from '../../artifact/contract.ts'
import { RequestError } from '../../errors.ts'
import { runMatching, runTexts } from '../../run/matching.ts'
import type { Model } from '../../run/model.ts'
import type { Outputs } from '../../run/queries.ts'
import type { Tensor } from '../../run/tensor.ts'
import type { BaseRequest } from '../request.ts'
import { textField } from './generate.ts'
import type { ActiveRequest, Task } from './task.ts'
import { encodeText, type TextProcessing, textProcessing } from './text.ts'

/** P vectors of the vision tower, Q queries, T tokens; Dv, Dq, E, D their widths (artifact/contract.ts). */
export const KINDS = [
  /** [P, Dv]: the vision tower's output. */
  'vision',
  /** [Q, Dq]: the Q-Former's output for the picture alone. */
  'image_embeds',
  /** [Q, E]: `image_embeds` projected, each of length 1. Compared with the first row of `text_embeds_proj`. */
  'image_embeds_proj',
  /** [T, Dq]: the Q-Former's output for the text alone. */
  'text_embeds',
  /** [T, E]: `text_embeds` projected, each of length 1. */
  'text_embeds_proj',
  /** [Q, Dq]: the Q-Former's output for picture and text together. */
  'multimodal_embeds',
  /** [T, D]: what the language model makes of the text alone (transformers' get_text_features). */
  'text_features',
] as const
export type Kind = (typeof KINDS)[number]

export interface FeatureFields {
  text?: string
  /** Default: all that picture and text have in this model, but `vision`, which is large. */
  kinds?: readonly Kind[]
  /** How numbers are written. `base64`: of little-endian float32. Default: float. */
  encoding_format?: 'float' | 'base64'
  /** Default: none. */
  text_processing?: TextProcessing
}

export interface Feature {
  shape: number[]
  /** In row-major order. */
  data: number[] | string
}

export interface Prepared {
  fields: FeatureFields
  kinds: readonly Kind[]
  /** Of the Q-Former's text. */
  ids?: number[]
  /** Of the language model's text. */
  languageIds?: number[]
}

export interface FeatureResult {
  text: string
  features: Partial<Record<Kind, Feature>>
}

/** What a kind is made of. */
const NEEDS: Record<Kind, { picture?: true; text?: true; of: 'any' | 'matching' | 'language' }> = {
  vision: { picture: true, of: 'any' },
  image_embeds: { picture: true, of: 'any' },
  image_embeds_proj: { picture: true, of: 'matching' },
  text_embeds: { text: true, of: 'matching' },
  text_embeds_proj: { text: true, of: 'matching' },
  multimodal_embeds: { picture: true, text: true, of: 'matching' },
  text_features: { text: true, of: 'language' },
}

export const features = {
  fields: z.strictObject({
    text: textField.optional(),
    kinds: z.array(z.enum(KINDS)).min(1).max(KINDS.length).optional(),
    encoding_format: z.enum(['float', 'base64']).optional(),
    text_processing: textProcessing.optional(),
  }),
  result: z.object({
    text: z.string(),
    features: z.partialRecord(
      z.enum(KINDS),
      z.object({ shape: z.array(z.number()), data: z.union([z.array(z.number()), z.string()]) }),
    ),
  }),
  sample: {} as FeatureFields,
  isPictureOptional: true,
  prepare(model: Model, fields: BaseRequest & FeatureFields): Prepared {
    const hasPicture = fields.image !== undefined || fields.picture !== undefined
    const has = { picture: hasPicture, text: fields.text !== undefined }
    if (!has.picture && !has.text) {
      throw new RequestError('no_picture', 'Expected a picture or a text, or both, but got neither.')
    }
    const kinds = fields.kinds ?? KINDS.filter((kind) => kind !== 'vision' && !lack(kind, model, has))
    for (const kind of kinds) {
      const lacking = lack(kind, model, has)
      if (lacking) throw new RequestError(...lacking)
    }
    const { text = '', text_processing } = fields
    const hasText = (of: 'matching' | 'language') =>
      kinds.some((kind) => NEEDS[kind].text && NEEDS[kind].of === of)
    const ids = hasText('matching') ? encodeText(model, text, text_processing) : undefined
    const languageIds = hasText('language') ? languageIdsOf(model, text) : undefined
    return { fields, kinds, ids, languageIds }
  },
  reads: ({ kinds }: Prepared, model: Model) => kinds.flatMap((kind) => outputOf(kind, model) ?? []),
  async run(model, requests) {
    for (const one of requests) {
      if (!one.isActive()) continue
      try {
        await answer(model, one)
      } catch (error) {
        one.finish({ error })
      }
    }
  },
} satisfies Task<FeatureFields, FeatureResult, Prepared>

/** Why there is no feature of this kind; undefined if there is one. */
function lack(
  kind: Kind,
  { manifest, language }: Model,
  has: { picture: boolean; text: boolean },
): ['no_task' | 'no_picture' | 'bad_field', string] | undefined {
  const { of, picture, text } = NEEDS[kind]
  if (of === 'matching' && !manifest.matching) {
    return [
      'no_task',
      `${manifest.name} has no ${kind}: it is no model for matching (${manifest.architecture}).`,
    ]
  }
  if (of === 'language' && !language?.textFeatures) {
    return ['no_task', `${manifest.name} has no ${kind}: its architecture is ${manifest.architecture}.`]
  }
  if (picture && !has.picture) return ['no_picture', `Expected a picture for ${kind} but got none.`]
  if (text && !has.text) return ['bad_field', `Expected the field text for ${kind} but got none.`]
  return undefined
}

/** @throws RequestError `text_too_long` */
function languageIdsOf({ language, tokenizer }: Model, text: string): number[] {
  const ids = language!.start(tokenizer.encode(text))
  if (language!.room(ids.length) >= 1) return ids
  const message = `A text has ${ids.length} tokens, more than the language model reads. Send a shorter text.`
  throw new RequestError('text_too_long', message)
}

/** The output of the picture that a kind needs. */
function outputOf(kind: Kind, { manifest: { matching } }: Model): string | undefined {
  if (kind === 'vision') return matching ? VISION.matching : VISION.vision
  if (kind === 'image_embeds') return matching ? MATCHING.query_hidden : QUERIES.queries
  if (kind === 'image_embeds_proj') return MATCHING.image_embeds
  return kind === 'multimodal_embeds' ? VISION.matching : undefined
}

async function answer(model: Model, one: ActiveRequest<Prepared, FeatureResult>): Promise<void> {
  const { kinds, fields } = one.prepared
  const began = performance.now()
  const texts = await textOutputs(model, one.prepared)
  const own: FeatureResult['features'] = {}
  for (const kind of kinds) {
    const tensor = await tensorOf(kind, model, one, texts)
    const [, ...shape] = tensor.dims
    own[kind] = { shape, data: written(await tensor.floats(), fields.encoding_format) }
  }
  one.clock.record('tokens', performance.now() - began)
  const words = kinds.map((kind) => `${kind} [${own[kind]!.shape.join(', ')}]`)
  one.finish({ own: { text: words.join(', '), features: own } })
}

/** The text's own features; undefined if no kind needs them. */
async function textOutputs(model: Model, { ids, kinds }: Prepared): Promise<Outputs | undefined> {
  if (!ids || !(kinds.includes('text_embeds') || kinds.includes('text_embeds_proj'))) return undefined
  return await runTexts(model.sessions[TEXT.graph]!, [ids], [TEXT.text_hidden, TEXT.text_embeds])
}

/** [1, ...] */
async function tensorOf(
  kind: Kind,
  model: Model,
  { outputs, prepared }: ActiveRequest<Prepared, FeatureResult>,
  texts: Outputs | undefined,
): Promise<Tensor> {
  switch (kind) {
    case 'text_embeds':
      return texts![TEXT.text_hidden]!
    case 'text_embeds_proj':
      return texts![TEXT.text_embeds]!
    case 'text_features':
      return await model.language!.textFeatures!(prepared.languageIds!)
    case 'multimodal_embeds': {
      const session = model.sessions[MATCHING.graph]!
      const names = [MATCHING.query_hidden]
      const beside = await runMatching(session, outputs![VISION.matching]!, [prepared.ids!], names)
      return beside[MATCHING.query_hidden]!
    }
    default:
      return outputs![outputOf(kind, model)!]!
  }
}

function written(values: Float32Array, format: FeatureFields['encoding_format']): number[] | string {
  if (format !== 'base64') return [...values]
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64')
}

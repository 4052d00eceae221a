// A text that is compared with pictures -> the ids that the Q-Former reads.

import { z } from 'zod'
import { RequestError } from '../../errors.ts'
import type { Model } from '../../run/model.ts'
import { textField } from './generate.ts'

/**
 * What is done to a text before it is tokenized. `none`, the default: nothing, as in transformers; a text that is longer than
 * the model's positions is refused. `lavis`: what LAVIS does, where the models were trained.
 */
export const textProcessing = z.enum(['none', 'lavis'])
export type TextProcessing = z.output<typeof textProcessing>

export const textsField = (most: number) => z.array(textField).min(1).max(most)

/** BlipCaptionProcessor of LAVIS' blip_processors.py. */
const LAVIS_MOST_WORDS = 50
/** max_txt_len of its Blip2Qformer, with [CLS] and [SEP]. */
const LAVIS_MOST_TOKENS = 32

/** @throws RequestError `text_too_long` */
export function encodeText(
  { matchingTokenizer, manifest: { matching } }: Model,
  text: string,
  processing: TextProcessing = 'none',
): number[] {
  const tokenizer = matchingTokenizer!
  if (processing === 'lavis') {
    const ids = tokenizer.encode(cleanedAsInLavis(text))
    return ids.length <= LAVIS_MOST_TOKENS ? ids : [...ids.slice(0, LAVIS_MOST_TOKENS - 1), ids.at(-1)!]
  }
  const ids = tokenizer.encode(text)
  const most = matching!.text.positions
  if (ids.length <= most) return ids
  const message = `A text has ${ids.length} tokens, but the model reads at most ${most}. Send a shorter text.`
  throw new RequestError('text_too_long', message)
}

/** pre_caption of LAVIS' BlipCaptionProcessor: lower case, some punctuation as spaces, at most 50 words. */
export function cleanedAsInLavis(text: string): string {
  const spaced = text
    .toLowerCase()
    .replace(/[.!"()*#:;~]/g, ' ')
    .replace(/\s{2,}/g, ' ')
    .replace(/\n+$/, '')
    .replace(/^ +| +$/g, '')
  return spaced.split(' ').slice(0, LAVIS_MOST_WORDS).join(' ')
}

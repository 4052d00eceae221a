// Added tokens: tokenizer files -> the list of added tokens; text -> the text split at them.
//
// The list is that of transformers 5.18 (tokenization_utils_base.py `_from_pretrained`, tokenization_utils_tokenizers.py
// `__init__`, processing_blip_2.py). Matching is that of the tokenizers library (added_vocabulary.rs, `find_matches`).

import { z } from 'zod'

/** Far above any vocabulary. The tokenizers library allocates a list as long as the largest id. */
const MAX_ID = 10_000_000
export const id = z.number().int().nonnegative().max(MAX_ID)

const flag = z.boolean().nullish()
const written = z.object({
  content: z.string().min(1),
  special: flag,
  normalized: flag,
  lstrip: flag,
  rstrip: flag,
  single_word: flag,
})
type Written = z.output<typeof written>
export const writtenWithId = z.looseObject({ id, ...written.shape })

/** A token: its text, or its text and flags. */
const named = z.union([z.string().transform((content): Written => ({ content })), written])
const namedList = z
  .union([z.array(named), z.record(z.string(), named).transform((tokens) => Object.values(tokens))])
  .nullish()

/** SPECIAL_TOKENS_ATTRIBUTES of transformers, in its order. Other keys that end in `_token` follow. */
const NAMES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token']

/** The keys of tokenizer_config.json that are read. */
export const settingsSchema = z.looseObject({
  tokenizer_class: z.string().nullish(),
  add_prefix_space: flag,
  add_bos_token: flag,
  legacy: flag,
  do_lower_case: flag,
  tokenize_chinese_chars: flag,
  strip_accents: flag,
  added_tokens_decoder: z.record(z.string().regex(/^\d{1,8}$/), written).optional(),
  extra_special_tokens: namedList,
  additional_special_tokens: namedList,
})
export type Settings = z.output<typeof settingsSchema>

export interface AddedToken extends Written {
  id: number
  special: boolean
  normalized: boolean
}

/** The text of the token in a setting such as `bos_token`. */
export function textOfName(setting: unknown): string | undefined {
  return named.safeParse(setting).data?.content
}

export function isGpt2({ tokenizer_class }: Settings): boolean {
  return /^GPT2Tokenizer(Fast)?$/.test(tokenizer_class ?? 'GPT2Tokenizer')
}

/**
 * Returns the added tokens in the order of transformers. A token of the vocabulary keeps its id. Any other token gets the
 * next free id; the id in the files is ignored.
 */
export function addedTokens(
  settings: Settings,
  vocabulary: ReadonlyMap<string, number>,
  own: readonly z.output<typeof writtenWithId>[],
  legacy: unknown,
): AddedToken[] {
  const extra = settings.extra_special_tokens ?? settings.additional_special_tokens ?? []
  const keys = new Set([...NAMES, ...Object.keys(settings).filter((key) => key.endsWith('_token'))])
  const names = [...keys].flatMap((key) => named.safeParse(settings[key]).data ?? [])
  const areNamed = new Set(names.map(({ content }) => content))
  // added_tokens.json has no flags. Its tokens are special if a setting names them.
  const isSpecial = (content: string) =>
    areNamed.has(content) || settings.extra_special_tokens?.some((one) => one.content === content) === true

  const byId = new Map<number, Written>()
  if (settings.added_tokens_decoder) {
    for (const [key, token] of Object.entries(settings.added_tokens_decoder)) byId.set(Number(key), token)
  } else {
    for (const [content, one] of Object.entries(z.record(z.string(), id).parse(legacy ?? {})))
      byId.set(one, { content, special: isSpecial(content), normalized: !isSpecial(content) })
    for (const token of own) byId.set(token.id, token)
  }
  const listed = [...byId].sort(([a], [b]) => a - b).map(([, token]) => token)

  const added = new Map<string, AddedToken>()
  const taken = new Set(vocabulary.values())
  let next = vocabulary.size
  const add = (token: Written, asSpecial = false) => {
    const { content } = token
    const special = asSpecial || token.special === true || areNamed.has(content)
    const known = added.get(content)?.id ?? vocabulary.get(content)
    if (known === undefined && taken.has(next)) {
      if (special) return // Neither encode nor decode returns it.
      throw new Error(`${content} would get the id ${next} of another token, because the vocabulary has gaps`)
    }
    const one = known ?? next
    next = Math.max(next, one + 1)
    added.set(content, { ...token, id: one, special, normalized: token.normalized ?? !special })
  }
  // GPT2Tokenizer ignores the added tokens of tokenizer.json; other classes begin with them.
  for (const token of isGpt2(settings) ? listed : [...own, ...listed]) add(token)
  const withFlags = new Set(added.keys())
  for (const token of [...names, ...extra]) if (!withFlags.has(token.content)) add(token, true)
  // Blip2Processor adds the placeholder of the picture if the tokenizer has no image_token.
  if (settings['image_token'] == null) add({ content: '<image>', normalized: false }, true)
  return [...added.values()]
}

/** An added token, or the text between two. */
type Piece = AddedToken | string

const SPACE = /\p{White_Space}/u
const WORD = String.raw`[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]`
const BEGINS_WITH_WORD = new RegExp(`^${WORD}`, 'u')
const ENDS_WITH_WORD = new RegExp(`${WORD}$`, 'u')

/**
 * Returns a function that splits a text at tokens: the first match, and the longest of those at the same place. `textOf`
 * gives the text of a token. A match for which `isText` holds stays text, with any shorter token inside it.
 */
export function splitter(
  tokens: readonly AddedToken[],
  textOf: (token: AddedToken) => string,
): (text: string, isText: (token: AddedToken) => boolean) => Piece[] {
  const byText = new Map(tokens.map((token) => [textOf(token), token]))
  byText.delete('')
  if (byText.size === 0) return (text) => [text]
  const longestFirst = [...byText.keys()].sort((a, b) => b.length - a.length)
  const pattern = new RegExp(
    longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|'),
    'gu',
  )
  return (text, isText) => {
    const pieces: Piece[] = []
    let end = 0
    for (const { 0: found, index } of text.matchAll(pattern)) {
      const token = byText.get(found)!
      let [from, to] = [index, index + found.length]
      if (isText(token)) continue
      // A character outside the Basic Multilingual Plane has two code units.
      const inWord =
        ENDS_WITH_WORD.test(text.slice(Math.max(0, from - 2), from)) ||
        BEGINS_WITH_WORD.test(text.slice(to, to + 2))
      if (token.single_word && inWord) continue
      if (token.lstrip) while (from > end && SPACE.test(text[from - 1]!)) from--
      if (token.lstrip && end >= to) continue // The previous token's rstrip included these spaces.
      if (token.rstrip) while (to < text.length && SPACE.test(text[to]!)) to++
      if (end < from) pieces.push(text.slice(end, from))
      pieces.push(token)
      end = to
    }
    if (end < text.length) pieces.push(text.slice(end))
    return pieces
  }
}

// "what color is the car in the second picture?" -> which of several pictures is meant, and the question without that.

import { PHRASES } from './phrases.ts'

export interface Choice<T> {
  chosen: T[]
  /** The words with "the picture" in place of "the second picture". */
  text: string
}

/** In place of what chose it. */
const PICTURE: Record<keyof typeof PHRASES, string> = {
  en: 'picture',
  de: 'Bild',
  es: 'imagen',
  fr: 'image',
  ja: '画像',
}
const NOUNS: Record<keyof typeof PHRASES, string> = {
  en: '(?:pictures?|pics?|photos?|photographs?|images?|screenshots?|stickers?|emojis?|memes?|drawings?)',
  de: '(?:bild(?:er|ern|es)?|fotos?|screenshots?|stickers?|emojis?|memes?|zeichnung(?:en)?|aufnahmen?)',
  es: '(?:imagen(?:es)?|fotos?|fotografias?|capturas?|stickers?|emojis?|dibujos?)',
  fr: '(?:images?|photos?|photographies?|captures?|stickers?|emojis?|dessins?)',
  ja: '(?:の?(?:画像|写真|絵|イラスト|スクショ|スタンプ))',
}
/** Says nothing to a model that is asked about one picture. */
const IN_PICTURE = /(?<=\S\s+\S+\s+\S+)\s+(in|on|from|of) (the )?picture(?=\s*[?.!]?$)/

/** What follows an ordinal without a noun: the end of the words. */
const END = '(?=\\s*(?:[?.!,;？。！]|$))'
/** Before an ordinal without a noun: "the first?" is a picture, "who came in first?" is not. */
const ARTICLE = '(?:the|das|die|den|dem|der|im|am|zum|la|el|le|del|al|du|au)\\s+'
const EDGE = '(?<![\\p{L}\\p{N}])'

/** Undefined when the words choose none, or there is only one. `groups`: the pictures of each message, oldest first. */
export function chooseAmong<T>(text: string, groups: readonly (readonly T[])[]): Choice<T> | undefined {
  const all = groups.flat()
  if (all.length < 2) return undefined
  const { plain, at } = indexed(text)
  for (const { pattern, pick, picture } of PATTERNS) {
    const match = pattern.exec(plain)
    const chosen = match && pick(match, groups as readonly (readonly unknown[])[])
    if (!chosen || chosen.length === 0) continue
    const [start, end] = [at[match.index]!, at[match.index + match[0].length] ?? text.length]
    const words = `${text.slice(0, start)}${picture} ${text.slice(end)}`
    return { chosen: chosen as T[], text: words.replace(/\s+(?=[?.!,;]|$)/g, '').replace(IN_PICTURE, '') }
  }
  return undefined
}

type Pick = (match: RegExpExecArray, groups: readonly (readonly unknown[])[]) => unknown[]

/** A message with several pictures is counted by itself, as its reply numbers them; else all pictures of the thread are. */
const nth =
  (index: number): Pick =>
  (_, groups) => {
    const newest = groups.at(-1)!
    const counted = newest.length > 1 && index < newest.length ? newest : groups.flat()
    return index < counted.length ? [counted[index]] : []
  }
const last: Pick = (_, groups) => groups.flat().slice(-1)
const pair: Pick = (_, groups) =>
  groups.at(-1)!.length >= 2 ? groups.at(-1)!.slice(-2) : groups.flat().slice(-2)
const every: Pick = (_, groups) => [...groups.flat()]

const PATTERNS: { pattern: RegExp; pick: Pick; picture: string }[] = Object.entries(PHRASES).flatMap(
  ([language, words]) => {
    const noun = NOUNS[language as keyof typeof PHRASES]
    const picture = PICTURE[language as keyof typeof PHRASES]
    const { spaced, ordinals, both, all, one } = words
    const edge = spaced ? EDGE : ''
    const gap = spaced ? '\\s+' : ''
    const tail = spaced
      ? `(?:${gap}(?:${noun}|${one})(?![\\p{L}])|(?<=${ARTICLE}\\S+)${END})`
      : `(?:${noun}|${one})?`
    const pattern = (source: string) => new RegExp(source, 'u')
    const choices = [
      ...ordinals.map((ordinal, index) => ({
        pattern: pattern(`${edge}(?:${ordinal})${tail}`),
        pick: nth(index),
      })),
      { pattern: pattern(`${edge}(?:${words.last})${tail}`), pick: last },
      {
        pattern: pattern(
          `${edge}${noun}\\s*(?:number|numero|nummer|nr|no)?\\.?\\s*#?([1-9])(?![\\p{L}\\p{N}])`,
        ),
        pick: ((match, groups) => nth(Number(match[1]) - 1)(match, groups)) satisfies Pick,
      },
      {
        pattern: pattern(
          spaced
            ? `${edge}(?:${both})(?:\\s+(?:of )?(?:the |them|those|these|den |der |las |los |les |de las |de los )?\\s*${noun}?(?=\\s*(?:[?.!,;]|$|show|have|contain|zeigen|haben|muestran|tienen|montrent|ont))|\\s+(?:of )?(?:the )?${noun}|${END})`
            : `(?:${both})${noun}?`,
        ),
        pick: pair,
      },
      { pattern: pattern(`${edge}(?:${all})${gap}(?:\\d\\s*)?${noun}`), pick: every },
    ]
    return choices.map((choice) => ({ ...choice, picture }))
  },
)

/** Lower case without accents, and where each of its characters is in the text. */
function indexed(text: string): { plain: string; at: number[] } {
  let plain = ''
  const at: number[] = []
  let index = 0
  for (const character of text) {
    const shown = /[\u3040-\u30ff]/.test(character)
      ? character
      : character
          .normalize('NFKD')
          .replace(/[\u0300-\u036f]/g, '')
          .toLowerCase()
    for (const _ of shown) at.push(index)
    plain += shown
    index += character.length
  }
  return { plain, at }
}

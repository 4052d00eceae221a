// The words of a message -> what they want: a caption, an answer, or one of the fixed replies. Rules over the tables of
// phrases.ts, in all languages at once: a message does not say its language.

import { PHRASES, type Phrases } from './phrases.ts'

/**
 * `caption`: asks for a description. `question`: asks anything else. `help`, `who`, `thanks`, `greeting`, `reaction` get a
 * fixed reply where they come without a picture. `remark`: any other words. `empty`: none.
 */
export type Intent =
  | 'question'
  | 'caption'
  | 'help'
  | 'who'
  | 'remark'
  | 'thanks'
  | 'greeting'
  | 'reaction'
  | 'empty'

/** Of a message with several sentences, the first of these that one of them has. */
const PRECEDENCE: readonly Intent[] = [
  'question',
  'caption',
  'who',
  'help',
  'remark',
  'thanks',
  'greeting',
  'reaction',
  'empty',
]

const EMOJI = /\p{Extended_Pictographic}|:[a-z][a-z0-9_+-]*:/iu

/** Longer messages than any question. Keeps the rules fast. */
const MAX_CHARACTERS = 600

export function intentOf(text: string): Intent {
  const sentences = sentencesOf(text).map(({ words, mark }) => intentOfSentence(words, mark))
  const found = PRECEDENCE.find((intent) => sentences.includes(intent))
  return found ?? (EMOJI.test(text) ? 'reaction' : 'empty')
}

/** Whether a message that does not address the bot plainly asks about the picture of its thread. */
export function looksLikeQuestion(text: string): boolean {
  if (/@\p{L}/u.test(text) || isToSomebody(text)) return false
  return sentencesOf(text).some(({ words, mark }) => {
    const intent = intentOfSentence(words, mark)
    if (intent !== 'question' && intent !== 'caption') return false
    const asked = strip(withoutCourtesy(words.replace(/[,、]+ */g, ' ')), ASKING)
    return !has(asked, ELSEWHERE) && (intent === 'caption' || has(words, VISUAL))
  })
}

/** "Anna, what colour is it?": begins with a name. */
function isToSomebody(text: string): boolean {
  const name = normalized(/^\s*(\p{Lu}\p{Ll}+),\s/u.exec(text)?.[1] ?? '')
  const isCourtesy = [GREETING, THANKS, REACTION, DENIAL, FILLER, OPENER].some((table) => has(name, table))
  return name !== '' && !isCourtesy && !isEmpty(name) && withoutCourtesy(`${name} x`) !== 'x'
}

/** `thanks!`: needs no answer where it is not clear that the bot is meant. */
export function isSmallTalk(text: string): boolean {
  return ['thanks', 'greeting', 'reaction', 'empty'].includes(intentOf(text))
}

/** "no, wrong": a reaction that says that the answer is wrong. */
export function isDenial(text: string): boolean {
  return sentencesOf(text).some(({ words }) => has(words, DENIAL))
}

/** "and this one?": asks the same about another picture. */
export function asksForAnother(text: string): boolean {
  const sentences = sentencesOf(text)
  return (
    sentences.length > 0 &&
    sentences.every(({ words }) => isOnly(words.replace(/[,、]+/g, ' ').trim(), ANOTHER))
  )
}

/** Lower case, without accents, emoji, links and mentions. */
export function normalized(text: string): string {
  return text
    .slice(0, MAX_CHARACTERS)
    .replace(/https?:\/\/\S+|<[@#:!][^>]*>|:[a-z0-9_+-]+:|[@#][\p{L}\p{N}_.-]+/giu, ' ')
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .normalize('NFKC')
    .toLowerCase()
    .replace(/ß/g, 'ss')
    .replace(/[’‘`´ʼ]/g, "'")
    .replace(/\p{Extended_Pictographic}|\p{Emoji_Modifier}|\u200d|\ufe0f/gu, ' ')
}

interface Sentence {
  words: string
  /** How it ends: `?`, `!` or nothing. */
  mark: string
}

/** Splits at the marks that end a sentence, and after a greeting or thanks before a comma. */
function sentencesOf(text: string): Sentence[] {
  const sentences: Sentence[] = []
  for (const [, words = '', marks = ''] of normalized(text).matchAll(/([^.!?。…\n;]*)([.!?。…\n;]*)/g)) {
    const mark = marks.includes('?') ? '?' : marks.includes('!') ? '!' : ''
    const plain = words.replace(/[^\p{L}\p{N}'\-,、]+/gu, ' ').trim()
    if (/[\p{L}\p{N}]/u.test(plain)) sentences.push({ words: plain, mark })
  }
  return sentences
}

function intentOfSentence(sentence: string, mark: string): Intent {
  const words = sentence
    .replace(/[,、]+/g, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  if (isOnly(words, WHO)) return 'who'
  if (isOnly(words, HELP)) return 'help'
  // "great, thank you": several of them, with nothing else.
  const rest = SMALL.reduce((left, [, table]) => strip(left, table), words)
  const small = isEmpty(rest) ? SMALL.find(([, table]) => has(words, table)) : undefined
  if (small) return small[0]
  // "hi, what is this": the courtesy before the question.
  const core = withoutCourtesy(words)
  if (isOnly(core, WHO)) return 'who'
  if (isOnly(core, HELP)) return 'help'
  if (isOnly(core, OPINION)) return 'remark'
  if (isOnly(core, LOOK) || isOnly(core, ANOTHER) || asksForCaption(core)) return 'caption'
  if (mark === '!') return begins(core, IMPERATIVE) ? 'question' : 'remark'
  if (mark === '?') return isTagged(sentence) ? 'remark' : 'question'
  return begins(core, OPENER) || begins(core, IMPERATIVE) ? 'question' : 'remark'
}

/** `describe it`, `an alt text, please`: but not `describe the dog`, `what does the caption say`. */
function asksForCaption(all: string): boolean {
  const words = has(all, DESCRIBE) ? all.replace(FOR_WHOM, '') : all
  if (has(words, DESCRIBE) && isEmpty(strip(strip(words, DESCRIBE), PICTURE))) return true
  if (!has(words, DESCRIPTION)) return false
  return (
    !QUESTION_ABOUT_TEXT.test(words) && !isLong(strip(strip(strip(words, DESCRIPTION), DESCRIBE), PICTURE))
  )
}

/** "for a blind colleague", behind a request for a description. */
const FOR_WHOM =
  / (for|fur|para|pour) (a|an|my|our|the|some\w+|those|people|ein\w*|mein\w*|unser\w*|die|den|das|un|una|mi|nuestr\w+|los|las|une|mon|ma|mes|nos|notre|les|quelqu'un|alguien)( [\p{L}']+){0,4}$/u

/** Whether more is left than a request for a description has: then it is a remark about one. */
function isLong(words: string): boolean {
  return (
    strip(words, FILLER)
      .split(' ')
      .filter((word) => word !== '').length > MAX_OTHER_WORDS
  )
}

/** Other words in a request for a description, such as "accessible" or "Instagram". */
const MAX_OTHER_WORDS = 4

/** "does the caption say", "is there a description", "who wrote the caption": about a text, not for one. */
const QUESTION_ABOUT_TEXT =
  /^(who|where|when|why|is|are|was|does|did|has|wer|wo|wann|warum|ist|sind|hat|qui|ou|quand|pourquoi|quien|donde|cuando)\b|\b(say|says|said|mean|means|written|wrong|sagt|bedeutet|dit|dice)\b|(書いて(あ|い)|間違)/

/** "cute, right?": a comma and a word that begs agreement, after words that ask nothing. */
function isTagged(sentence: string): boolean {
  const at = sentence.lastIndexOf(',')
  const end = at < 0 ? '' : sentence.slice(at + 1).trim()
  if (end !== '') return isOnly(end, TAG) && !begins(sentence.slice(0, at), OPENER)
  return JAPANESE_TAG.test(sentence)
}

/** Table of a role: matches its alternatives of all languages as whole words. */
interface Matcher {
  any: RegExp
  only: RegExp
  start: RegExp
}

type Role = { [K in keyof Phrases]: Phrases[K] extends string ? K : never }[keyof Phrases]

function matcher(role: Role): Matcher {
  const languages = Object.values(PHRASES)
  const of = (spaced: boolean) =>
    languages
      .filter((each) => each.spaced === spaced && each[role] !== '')
      .map((each) => each[role])
      .join('|')
  const [words, signs] = [of(true), of(false)]
  const edge = "(?![\\p{L}\\p{N}'])"
  const either = `(?<![\\p{L}\\p{N}'])(?:${words})${edge}${signs === '' ? '' : `|(?:${signs})`}`
  return {
    any: new RegExp(either, 'gu'),
    only: new RegExp(`^(?:(?:${words})|(?:${signs === '' ? '(?!)' : signs}))$`, 'u'),
    start: new RegExp(`^(?:(?:${words})${edge}|(?:${signs === '' ? '(?!)' : signs}))`, 'u'),
  }
}

const [GREETING, THANKS, REACTION, DENIAL, HELP, WHO, FILLER] = [
  matcher('greeting'),
  matcher('thanks'),
  matcher('reaction'),
  matcher('denial'),
  matcher('help'),
  matcher('who'),
  matcher('filler'),
]
const [PICTURE, DESCRIBE, DESCRIPTION, LOOK, OPINION, ANOTHER] = [
  matcher('picture'),
  matcher('describe'),
  matcher('description'),
  matcher('look'),
  matcher('opinion'),
  matcher('another'),
]
const [OPENER, IMPERATIVE, TAG, ELSEWHERE, VISUAL] = [
  matcher('opener'),
  matcher('imperative'),
  matcher('tag'),
  matcher('elsewhere'),
  matcher('visual'),
]
const JAPANESE_TAG = new RegExp(`(?:${PHRASES.ja.tag})$`, 'u')

const SMALL: readonly (readonly [Intent, Matcher])[] = [
  ['thanks', THANKS],
  ['greeting', GREETING],
  ['reaction', DENIAL],
  ['reaction', REACTION],
]

/** Words of a request that name the people in it, and are not about them: "can you see", "tell me". */
const ASKING: Matcher = {
  ...FILLER,
  any: /(?<![\p{L}'])(can|could|do) you (see|tell( me| us)?|count|describe|find|read)|(tell|show|give) (me|us)|(dis|dites)[- ](moi|nous)|(di|cuenta)(me|nos)|(sag|zeig|gib)e? (mir|uns)|(puedes|ves|kannst du|siehst du|peux-tu|vois-tu) (ver|decir\w*|sehen|sagen|voir|dire)?(?![\p{L}'])/gu,
}

function has(words: string, { any }: Matcher): boolean {
  any.lastIndex = 0
  return any.test(words)
}

function strip(words: string, { any }: Matcher): string {
  return words.replace(any, ' ').replace(/\s+/g, ' ').trim()
}

function isOnly(words: string, { only }: Matcher): boolean {
  return only.test(words)
}

function begins(words: string, { start }: Matcher): boolean {
  return start.test(words.trim())
}

/** Whether only filler is left. */
function isEmpty(words: string): boolean {
  return !/[\p{L}\p{N}]/u.test(strip(words, FILLER))
}

/** Without greetings, thanks and fillers at the start, and "please" at the end. */
function withoutCourtesy(words: string): string {
  const start =
    /^((hi|hello|hey|ok|okay|so|and|well|oh|now|then|but|also|wow|cool|nice|please|pls|plz|thanks|thank you|bot|glimpse|everyone|all|hallo|bitte|danke|und|also|ja|na|mal|hola|gracias|por favor|porfa|oye|y|pues|bonjour|salut|coucou|merci|svp|stp|et|alors|dis|bon|quick question|question|frage|pregunta|i wonder|i was wondering|just wondering|wondering|do you know|any idea|any idea what|can you tell me|could you tell me|please tell me|tell me please|i want to know|i'd like to know)( |$))+/u
  const end =
    /( (please|pls|plz|thanks|thank you|thx|bitte|danke|por favor|porfa|gracias|svp|stp|s'il (te|vous) plait|merci|bot|glimpse|guys|everyone|then|exactly|eigentlich|denn|genau|exactement|donc|exactamente))+$/u
  const bare = words.replace(start, '').replace(end, '').trim()
  return bare === '' ? words : bare
}

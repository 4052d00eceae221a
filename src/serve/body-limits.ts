// What a body may cost. JSON is bounded before it is parsed: a parser takes its time over millions of brackets, and this
// thread answers everybody. form.ts bounds a form while it is read.
//
// The picture has its own allowance (image/limits.ts); all around it, the words, has another.

import { RequestError } from '../errors.ts'

const KIB = 1024
/** Words, history, settings, and what holds them together. */
export const MAX_TEXT_BYTES = 256 * KIB
/** Twice as deep as an ask is; taking apart what is nested thousands of times takes tens of milliseconds. */
const MAX_DEPTH = 8

const QUOTE = 0x22
const BACKSLASH = 0x5c
/** By how much a byte outside of strings leads deeper. */
const DEPTH_CHANGE: Record<number, number> = { 91: 1, 123: 1, 93: -1, 125: -1 }

/** Throws RequestError `too_many_words`. */
export function checkTextSize(sizeBytes: number): void {
  if (sizeBytes <= MAX_TEXT_BYTES) return
  throw new RequestError(
    'too_many_words',
    `Expected at most ${MAX_TEXT_BYTES / KIB} KiB of words and settings around the picture but got more. Send fewer turns of the conversation.`,
  )
}

/**
 * Counts all of a JSON text but the string of the key `image`, and no further than what is allowed. Whoever writes
 * that key in escapes gets it counted as words. Throws RequestError `too_many_words`, `bad_json`.
 */
export function checkJson(bytes: Buffer): void {
  let depth = 0
  let textBytes = 0
  let at = 0
  let before = ''
  while (at < bytes.length) {
    const open = bytes.indexOf(QUOTE, at)
    const start = open < 0 ? bytes.length : open + 1
    const isPicture = before === 'image' && bytes.toString('latin1', at, start).trim() === ':"'
    textBytes += start - at
    checkTextSize(textBytes)
    for (let i = at; i < start; i++) {
      depth += DEPTH_CHANGE[bytes[i]!] ?? 0
      if (depth > MAX_DEPTH) throw tooDeep()
    }
    const { end, escapes } = endOfString(bytes, start)
    textBytes += isPicture ? escapes : end - start
    checkTextSize(textBytes)
    before = end - start === 'image'.length ? bytes.toString('latin1', start, end) : ''
    at = end + 1
  }
}

function tooDeep(): RequestError {
  return new RequestError('bad_json', `Expected JSON at most ${MAX_DEPTH} brackets deep but got more.`)
}

/** Where the string's closing quote stands, and how many quotes before it are escaped. */
function endOfString(bytes: Buffer, start: number): { end: number; escapes: number } {
  let escapes = 0
  for (let from = start; escapes <= MAX_TEXT_BYTES; escapes++) {
    const end = bytes.indexOf(QUOTE, from)
    if (end < 0) break
    let first = end
    while (first > start && bytes[first - 1] === BACKSLASH) first--
    if ((end - first) % 2 === 0) return { end, escapes }
    from = end + 1
  }
  return { end: bytes.length, escapes }
}

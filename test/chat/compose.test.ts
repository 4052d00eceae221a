// The text of a reply: alt text, truncation, splitting; and the intent of a message.

import { expect, test } from 'vitest'
import { altText, MAX_ALT_CHARACTERS, splitText, truncateAt } from '../../src/chat/compose.ts'
import { intentOf, looksLikeQuestion } from '../../src/chat/intent.ts'

test.each([
  ['an image of two dogs', 'Two dogs.'],
  ['A picture of a cat on a mat', 'A cat on a mat.'],
  ['there is a photo of a boat', 'A boat.'],
  ['a crab to the left of a helicopter', 'A crab to the left of a helicopter.'],
  ['  two\n dogs ', 'Two dogs.'],
  ['the picture of', 'The picture of.'],
  ['iPhone on a table', 'iPhone on a table.'],
  ['élan vital,', 'Élan vital.'],
  ['is that a dog?', 'Is that a dog?'],
  ['a sign that says "stop."', 'A sign that says "stop."'],
  ['一匹の犬。', '一匹の犬。'],
  ['', ''],
])('the alt text of %j is %j', (caption, alt) => {
  expect(altText(caption)).toBe(alt)
})

test('alt text is never longer than the limit of a platform', () => {
  for (const length of [1_020, 1_023, 1_024, 1_025, 5_000]) {
    expect(altText('x'.repeat(length)).length).toBeLessThanOrEqual(MAX_ALT_CHARACTERS)
    expect(altText('word '.repeat(length / 5)).length).toBeLessThanOrEqual(MAX_ALT_CHARACTERS)
  }
})

test.each([
  ['one two three', 7, 'one two'],
  ['one two three', 8, 'one two'],
  ['onetwothree', 6, 'onetwo'],
  ['👩‍👩‍👧‍👦👩‍👩‍👧‍👦', 12, '👩‍👩‍👧‍👦'],
  ['short', 10, 'short'],
])('%j cut at %i is %j', (text, limit, cut) => {
  expect(truncateAt(text, limit)).toBe(cut)
})

test('pieces fit the limit and join to the whole text', () => {
  const text = Array.from({ length: 900 }, (_, i) => `word${i}`).join(' ')
  const pieces = splitText(text, 2_000)
  expect(pieces.every((piece) => piece.length <= 2_000)).toBe(true)
  expect(pieces.join(' ')).toBe(text)
})

test('a text without spaces is split at the limit', () => {
  const pieces = splitText('x'.repeat(5_001), 2_000)
  expect(pieces.map(({ length }) => length)).toEqual([2_000, 2_000, 1_001])
})

test.each([
  'what is it?',
  'and the left one?',
  'how many dogs',
  'What colour',
  'そこに犬はいますか？',
  'count the dogs',
  '¿qué es?',
])('%j is a question', (text) => {
  expect(looksLikeQuestion(text)).toBe(true)
})
test.each(['nice!', 'lol', 'I like this', 'thanks, great picture', '', 'isolation is hard'])(
  '%j is not a question',
  (text) => {
    expect(looksLikeQuestion(text)).toBe(false)
  },
)

test.each([
  'describe',
  'Describe this.',
  'please describe the picture',
  'caption',
  'alt text please',
  'can you describe this image?',
  'give me an alt text',
])('%j asks for a caption', (text) => {
  expect(intentOf(text)).toBe('caption')
})
test.each(['describe the dog', 'what is this?', 'how many?', 'is the caption right?', ''])(
  '%j does not',
  (text) => {
    expect(intentOf(text)).not.toBe('caption')
  },
)

// The texts of messages: captions to copy, and no markup from the model's words.

import { describe, expect, test } from 'vitest'
import type { ChatReply, ReplyPart } from '../../src/chat/compose.ts'
import { bodyOf, piecesOf, renderReply, threadName } from '../../src/discord/render.ts'
import { messagesFor } from '../../src/i18n/languages.ts'

const messages = messagesFor('en')
const replyOf = (parts: ReplyPart[], notes: string[] = []): ChatReply => ({
  parts,
  notes,
  ephemeral: false,
  messages,
})
const alt = (text: string, more: Partial<ReplyPart> = {}): ReplyPart => ({
  text,
  kind: 'alt',
  spoiler: false,
  ...more,
})
const answer = (text: string, more: Partial<ReplyPart> = {}): ReplyPart => ({
  text,
  kind: 'answer',
  spoiler: false,
  ...more,
})

test('a caption is in a code block, with its purpose above and the notes below', () => {
  expect(renderReply(replyOf([alt('two cats')], ['One note.', 'Another.']))).toEqual([
    '-# Alt text, ready to copy:\n```\ntwo cats\n```\n-# One note.\n-# Another.',
  ])
})
test('several pictures are numbered in one message', () => {
  const problem: ReplyPart = { text: 'Damaged.', kind: 'problem', spoiler: false, number: 2 }
  expect(renderReply(replyOf([alt('a cat', { number: 1 }), problem, alt('a dog', { number: 3 })]))).toEqual([
    '-# Alt text, ready to copy:\n**1.**\n```\na cat\n```\n**2.** Damaged.\n**3.**\n```\na dog\n```',
  ])
})
test('the text about a spoiler is a spoiler', () => {
  expect(renderReply(replyOf([alt('a || cat', { spoiler: true })]))[0]).toContain('||```\na | | cat\n```||')
  expect(renderReply(replyOf([answer('a || cat', { spoiler: true, number: 2 })]))).toEqual([
    '**2.** ||a \\|\\| cat||',
  ])
})
test('no text of the model ends its code block', () => {
  expect(renderReply(replyOf([alt('a ``` b `c`')]))[0]).toContain("```\na ''' b 'c'\n```")
})
test.each([
  ['*bold* _it_ ~~no~~ `code`', '\\*bold\\* \\_it\\_ \\~\\~no\\~\\~ \\`code\\`'],
  ['# heading', '\\# heading'],
  ['-# small', '\\-# small'],
  ['> quote', '\\> quote'],
  ['<@123> <#5> <t:1>', '\\<@123> \\<#5> \\<t:1>'],
])('%s of the model stays as it is written', (text, expected) => {
  expect(renderReply(replyOf([answer(text)]))).toEqual([expected])
})
test('nothing pings and no link unfolds', () => {
  expect(bodyOf('@everyone https://example.test')).toEqual({
    content: '@everyone https://example.test',
    flags: 4,
    allowed_mentions: { parse: [], replied_user: false },
  })
})

describe('longer than a message', () => {
  const long = Array.from({ length: 700 }, (_, index) => `word${index}`).join(' ')

  test('an answer is split at words, and each part says which it is', () => {
    const pieces = renderReply(replyOf([answer(long)], ['A note.']))
    expect(pieces.every((piece) => piece.length <= 2_000)).toBe(true)
    expect(pieces.map((piece) => /\n-# (\d+\/\d+)$/.exec(piece)?.[1])).toEqual(['1/3', '2/3', '3/3'])
    expect(pieces.map(piecesOf)).toEqual([3, 3, 3])
    const text = pieces.map((piece) => piece.replace(/\n-# .*/g, '')).join(' ')
    expect(text).toBe(long)
  })
  test('ten captions never lose a fence', () => {
    const ten = Array.from({ length: 10 }, (_, index) => alt('x'.repeat(1_000), { number: index + 1 }))
    const pieces = renderReply(replyOf(ten))
    expect(pieces.every((piece) => piece.length <= 2_000)).toBe(true)
    expect(pieces.map((piece) => piece.split('```').length % 2)).toEqual(pieces.map(() => 1))
  })
  test('marks count towards the length', () => {
    for (const text of ['*'.repeat(4_000), `${'a '.repeat(700)}${'<_'.repeat(900)}`]) {
      const pieces = renderReply(replyOf([answer(text, { spoiler: true, number: 1 })]))
      expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThanOrEqual(2_000)
    }
  })
  test('a short one has no part numbers', () => {
    expect(piecesOf(renderReply(replyOf([answer('yes')]))[0]!)).toBe(1)
  })
})

test('a thread is called by its question or answer, unless that is a spoiler', () => {
  const question = { text: '' } as Parameters<typeof threadName>[1]
  expect(threadName(replyOf([alt('two cats')]), question)).toBe('two cats')
  expect(threadName(replyOf([answer('two')]), { ...question, text: 'how many?' })).toBe('how many?')
  expect(threadName(replyOf([alt('two cats', { spoiler: true })]), question)).toBe('Glimpse')
  expect(threadName(replyOf([alt('x '.repeat(200))]), question).length).toBeLessThanOrEqual(100)
})

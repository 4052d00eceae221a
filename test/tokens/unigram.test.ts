// Text and ids of T5's Unigram tokenizer as transformers has them (reference/t5_tokenizer.py), but for typed special tokens.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { precompiledNormalizer } from '../../src/tokens/precompiled.ts'
import { openTokenizer } from '../../src/tokens/tokenizer.ts'
import { FIXTURES } from '../fixtures.ts'

const CHECKPOINT = join(FIXTURES, 'checkpoints/t5-gated')
const {
  texts,
  answers,
}: {
  texts: { text: string; ids: number[]; decoded: string }[]
  answers: { ids: number[]; text: string }[]
} = JSON.parse(await readFile(join(FIXTURES, 'references/t5-tokenizer.json'), 'utf8'))
const definition = JSON.parse(await readFile(join(CHECKPOINT, 'tokenizer.json'), 'utf8'))
const SPECIAL: string[] = definition.added_tokens.map(({ content }: { content: string }) => content)
const END = 1
const UNKNOWN = 2

const tokenizer = await openTokenizer(CHECKPOINT)

test('ids and text of every recorded text', () => {
  expect(texts.length).toBeGreaterThan(190)
  for (const { text, ids, decoded } of texts) {
    expect(tokenizer.encodeTrusted(text), JSON.stringify(text)).toEqual(ids)
    expect(tokenizer.decode(ids), JSON.stringify(text)).toBe(decoded)
  }
})

test('typed text without special tokens has the same ids', () => {
  const typed = texts.filter(({ text }) => !SPECIAL.some((token) => text.includes(token)))
  expect(typed.length).toBeGreaterThan(50)
  for (const { text, ids } of typed) expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids)
})

test('a text ends with the end token, and an empty text is that token', () => {
  expect(tokenizer.encode('')).toEqual([END])
  expect(tokenizer.encode('a').at(-1)).toBe(END)
})

test.each(SPECIAL)('%s that is typed becomes no special id, and nothing is lost', (token) => {
  const special = definition.added_tokens.map(({ id }: { id: number }) => id)
  const ids = tokenizer.encode(`a${token}b ${token}`).slice(0, -1)
  expect(ids.filter((id) => special.includes(id))).toEqual([])
  expect(tokenizer.decode(ids)).toBe(`a${token}b ${token}`)
})

test('a character that the vocabulary lacks is the unknown token', () => {
  expect(tokenizer.encode('中')).toContain(UNKNOWN)
})

describe('answers', () => {
  test('the text of every recorded answer', () => {
    for (const { ids, text } of answers) expect(tokenizer.decode(ids), String(ids)).toBe(text)
  })

  test('what is settled does not change with further ids', () => {
    let waited = 0
    for (const { ids, text } of answers) {
      for (let count = 1; count <= ids.length; count++) {
        const settled = tokenizer.decodeSettled(ids.slice(0, count))
        expect(text.startsWith(settled), `${ids} ${count}: ${settled}`).toBe(true)
        if (settled !== tokenizer.decode(ids.slice(0, count))) waited++
      }
    }
    expect(waited).toBeGreaterThan(0)
  })

  test('spaces are cleaned up only if tokenizer_config.json asks for it', async () => {
    const ids = [...tokenizer.encode('a').slice(0, -1), ...tokenizer.encode('! b').slice(0, -1)]
    expect(tokenizer.decode(ids)).toBe('a! b')
    const folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
    try {
      await cp(CHECKPOINT, folder, { recursive: true })
      const path = join(folder, 'tokenizer_config.json')
      const { clean_up_tokenization_spaces: _, ...rest } = JSON.parse(await readFile(path, 'utf8'))
      await writeFile(path, JSON.stringify(rest))
      expect((await openTokenizer(folder)).decode(ids)).toBe('a ! b')
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('the table of characters', () => {
  const normalize = precompiledNormalizer(definition.normalizer.precompiled_charsmap)

  // What normalizers.Precompiled of the tokenizers library 0.23 gives with this table.
  test.each([
    ['№\u0301', 'No'],
    ['ﬁ', 'fi'],
    ['e\u0301', 'é'],
    ['x\u0301', 'x\u0301'],
    ['½', '1⁄2'],
    ['a\u200bb\u0007c', 'a bc'],
    ['', ''],
  ])('%j becomes %j', (text, expected) => {
    expect(normalize(text)).toBe(expected)
  })

  test.each(['', 'AAAA', Buffer.from([255, 0, 0, 0, 1]).toString('base64')])('%j is no table', (charsmap) => {
    expect(() => precompiledNormalizer(charsmap)).toThrow('no table')
  })
})

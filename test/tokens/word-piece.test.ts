// Text and ids of BERT's WordPiece tokenizer as transformers has them (reference/bert_tokenizer.py), but for typed special
// tokens.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openTokenizer } from '../../src/tokens/tokenizer.ts'
import { FIXTURES } from '../fixtures.ts'

const CHECKPOINT = join(FIXTURES, 'checkpoints/itm')
interface Recorded {
  text: string
  ids: number[]
}
const { texts, cased }: { texts: (Recorded & { decoded: string })[]; cased: Recorded[] } = JSON.parse(
  await readFile(join(FIXTURES, 'references/bert-tokenizer.json'), 'utf8'),
)
const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '[DEC]', '<image>']
const [UNKNOWN, BEGIN, END] = [1, 2, 3]

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

test('a text is between its begin token and its end token, and an empty text is the two', () => {
  expect(tokenizer.encode('')).toEqual([BEGIN, END])
  expect(tokenizer.encode('a cat').at(0)).toBe(BEGIN)
  expect(tokenizer.encode('a cat').at(-1)).toBe(END)
})

test.each(SPECIAL)('%s that is typed becomes no special id', (token) => {
  const inner = tokenizer.encode(`a ${token} b`).slice(1, -1)
  expect(inner.filter((id) => id <= 4 && id !== UNKNOWN)).toEqual([])
  expect(inner.length).toBeGreaterThan(2)
})

/** The files of the checkpoint, changed by `edit`. */
async function changed(edit: (folder: string) => Promise<void>) {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  try {
    for (const name of ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'])
      await cp(join(CHECKPOINT, name), join(folder, name))
    await edit(folder)
    return await openTokenizer(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}
const json = async (file: string) => JSON.parse(await readFile(file, 'utf8'))

test('do_lower_case of tokenizer_config.json wins over the normalizer of tokenizer.json', async () => {
  const other = await changed(async (folder) => {
    const file = join(folder, 'tokenizer_config.json')
    await writeFile(file, JSON.stringify({ ...(await json(file)), do_lower_case: false }))
  })
  expect(cased.length).toBeGreaterThan(50)
  for (const { text, ids } of cased) expect(other.encodeTrusted(text), JSON.stringify(text)).toEqual(ids)
  expect(cased.some(({ text, ids }) => String(tokenizer.encodeTrusted(text)) !== String(ids))).toBe(true)
})

test('vocab.txt in place of tokenizer.json gives the same ids', async () => {
  const other = await changed(async (folder) => {
    const { model } = await json(join(folder, 'tokenizer.json'))
    await rm(join(folder, 'tokenizer.json'))
    // Digits are keys that come first in every object.
    const words = Object.entries(model.vocab as Record<string, number>).sort(([, a], [, b]) => a - b)
    await writeFile(join(folder, 'vocab.txt'), words.map(([word]) => `${word}\n`).join(''))
  })
  for (const { text, ids } of texts) expect(other.encodeTrusted(text), JSON.stringify(text)).toEqual(ids)
})

// Text and ids of LLaMA's BPE as LlamaTokenizer of transformers 5.18 has them (reference/llama_tokenizer.py), but for typed
// special tokens.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openTokenizer, type Tokenizer } from '../../src/tokens/tokenizer.ts'
import { FIXTURES } from '../fixtures.ts'

const CHECKPOINT = join(FIXTURES, 'checkpoints/llama-grouped')
interface Row {
  text: string
  ids: number[]
  decoded: string
}
const {
  texts,
  answers,
  variants,
}: {
  texts: Row[]
  answers: { ids: number[]; text: string }[]
  variants: { config: Record<string, unknown>; texts: Row[] }[]
} = JSON.parse(await readFile(join(FIXTURES, 'references/llama-tokenizer.json'), 'utf8'))
const definition = JSON.parse(await readFile(join(CHECKPOINT, 'tokenizer.json'), 'utf8'))
const SPECIAL: string[] = definition.added_tokens.map(({ content }: { content: string }) => content)

const tokenizer = await openTokenizer(CHECKPOINT)

function expectRows(own: Tokenizer, rows: readonly Row[]): void {
  for (const { text, ids, decoded } of rows) {
    expect(own.encodeTrusted(text), JSON.stringify(text)).toEqual(ids)
    expect(own.decode(ids), JSON.stringify(text)).toBe(decoded)
  }
}

test('ids and text of every recorded text', () => {
  expect(texts.length).toBeGreaterThan(150)
  expectRows(tokenizer, texts)
})

test.each(variants)('with other settings: $config', async ({ config, texts: rows }) => {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  try {
    await cp(CHECKPOINT, folder, { recursive: true })
    const path = join(folder, 'tokenizer_config.json')
    const whole = { ...JSON.parse(await readFile(path, 'utf8')), ...config }
    await writeFile(path, JSON.stringify(whole))
    expectRows(await openTokenizer(folder), rows)
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('typed text without special tokens has the same ids', () => {
  const typed = texts.filter(({ text }) => !SPECIAL.some((token) => text.includes(token)))
  expect(typed.length).toBeGreaterThan(50)
  for (const { text, ids } of typed) expect(tokenizer.encode(text), JSON.stringify(text)).toEqual(ids)
})

test.each(SPECIAL)('%s that is typed becomes no special id, and nothing is lost', (token) => {
  const special = definition.added_tokens.map(({ id }: { id: number }) => id)
  const ids = tokenizer.encode(`a${token}b ${token}`).slice(1)
  expect(ids.filter((id) => special.includes(id))).toEqual([])
  expect(tokenizer.decode(ids)).toBe(`a${token}b ${token}`)
})

test('the text of every recorded answer', () => {
  for (const { ids, text } of answers) expect(tokenizer.decode(ids), String(ids)).toBe(text)
})

test('what is settled of an answer does not change with further ids', () => {
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

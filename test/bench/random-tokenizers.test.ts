// The tokenizers of bench/random-checkpoint.mjs: every id is a token, and text comes back.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
// @ts-expect-error: plain JavaScript, without types
import { byteLevelBpe, unigram } from '../../bench/random-tokenizers.mjs'
import { openTokenizer } from '../../src/tokens/tokenizer.ts'

const TEXT = 'Question: what is it? Answer:'

test.each([
  ['OPT', byteLevelBpe, 50265],
  ['T5', unigram, 32100],
])('%s', async (_, files, count) => {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  try {
    for (const [name, content] of Object.entries(files(count))) {
      await writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
    }
    const tokenizer = await openTokenizer(folder)
    expect(Array.from({ length: count }, (_, id) => tokenizer.isToken(id))).not.toContain(false)
    expect(tokenizer.vocabularySize).toBeLessThanOrEqual(count + 1)
    expect(tokenizer.decode(tokenizer.encode(TEXT))).toBe(TEXT)
  } finally {
    await rm(folder, { recursive: true })
  }
})

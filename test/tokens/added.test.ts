// Added tokens, special and ordinary, as transformers has them: test/fixtures/references/added-tokens.json.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openTokenizer } from '../../src/tokens/tokenizer.ts'
import { FIXTURES } from '../fixtures.ts'
import { PLAIN } from '../make-checkpoint.ts'

type Keys = Record<string, unknown> | null
interface Variant {
  name: string
  edits: Record<string, Keys>
  cases: { text: string; ids: number[]; typed: number[] }[]
  answers: { ids: number[]; text: string }[]
}
const VARIANTS: Variant[] = JSON.parse(await readFile(join(FIXTURES, 'references/added-tokens.json'), 'utf8'))

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await cp(PLAIN, folder, { recursive: true })
})
afterEach(() => rm(folder, { recursive: true }))

/** null takes a key away, or the file. */
async function edit(file: string, keys: Keys): Promise<void> {
  const path = join(folder, file)
  if (keys === null) return await rm(path)
  const before = JSON.parse(await readFile(path, 'utf8').catch(() => '{}'))
  const after = Object.entries({ ...before, ...keys }).filter(([key]) => keys[key] !== null)
  await writeFile(path, JSON.stringify(Object.fromEntries(after)))
}

describe.each(VARIANTS)('$name', ({ edits, cases, answers }) => {
  beforeEach(async () => {
    for (const [file, keys] of Object.entries(edits)) await edit(file, keys)
  })

  test('ids of trusted and of typed texts are those of transformers', async () => {
    const { encode, encodeTrusted } = await openTokenizer(folder)
    const ours = cases.map(({ text }) => ({ text, ids: encodeTrusted(text), typed: encode(text) }))
    expect(ours).toEqual(cases)
  })

  test('texts of generated ids are those of transformers', async () => {
    const { decode } = await openTokenizer(folder)
    expect(answers.map(({ ids }) => ({ ids, text: decode(ids) }))).toEqual(answers)
  })
})

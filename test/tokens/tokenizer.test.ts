// Text and ids as the tokenizers library of transformers has them, but for typed special tokens.

import { execFileSync } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ArtifactError } from '../../src/errors.ts'
import { openTokenizer } from '../../src/tokens/tokenizer.ts'
import { CHECKPOINTS, FIXTURES } from '../fixtures.ts'

/** The tokenizer of this checkpoint made test/fixtures/references/tokenizer.json. */
const RECORDED = join(FIXTURES, 'checkpoints/plain')
const CASES: { text: string; ids: number[]; decoded: string }[] = JSON.parse(
  await readFile(join(FIXTURES, 'references/tokenizer.json'), 'utf8'),
)
const SPECIAL = ['</s>', '<pad>', '<image>']
const isTyped = (text: string) => SPECIAL.some((token) => text.includes(token))
const tokenizer = await openTokenizer(RECORDED)

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await cp(RECORDED, folder, { recursive: true })
})
afterEach(() => rm(folder, { recursive: true }))

test.each(CASES.filter(({ text }) => !isTyped(text)))('ids and text of $text', ({ text, ids, decoded }) => {
  expect(tokenizer.encode(text)).toEqual(ids)
  expect(tokenizer.decode(ids)).toBe(decoded)
})

describe('a typed special token', () => {
  test.each(CASES)('is one where the text is trusted, as in transformers: $text', ({ text, ids }) => {
    expect(tokenizer.encodeTrusted(text)).toEqual(ids)
  })

  test.each([
    ...CASES.filter(({ text }) => isTyped(text)).map(({ text }) => text),
    ...SPECIAL.flatMap((token) => [
      `Question: ${token}? Answer:`,
      `x${token}`,
      `\n${token}\n`,
      token.repeat(50),
    ]),
    '<<pad>>',
    '</s</s>>',
  ])('in %j becomes no special id, and nothing is lost', (text) => {
    const [first, ...ids] = tokenizer.encode(text)
    expect(first).toBe(2)
    expect(ids.filter((id) => [1, 2, 296].includes(id))).toEqual([])
    expect(tokenizer.decode(ids)).toBe(text)
  })

  test.each(CHECKPOINTS)('becomes none in %s', async (name) => {
    const { encode } = await openTokenizer(join(FIXTURES, 'checkpoints', name))
    const { added_tokens } = JSON.parse(
      await readFile(join(FIXTURES, 'checkpoints', name, 'tokenizer.json'), 'utf8'),
    )
    const special = added_tokens.map(({ id }: { id: number }) => id)
    expect(
      encode(SPECIAL.join(' '))
        .slice(1)
        .filter((id) => special.includes(id)),
    ).toEqual([])
  })

  test('becomes none even where merges would join it', async () => {
    await editTokenizer((definition) => {
      definition.pre_tokenizer.use_regex = false
      definition.model.vocab['</'] = 296
      definition.model.vocab['</s'] = 297
      definition.model.merges.unshift(['<', '/'], ['</', 's'], ['</s', '>'])
    })
    const { encode } = await openTokenizer(folder)
    expect(encode('a</s>b')).toEqual([2, 68, 69])
  })

  test('does not count as text where it is generated', () => {
    expect(tokenizer.decode([2, 68, 1, 296, 69, 2])).toBe('ab')
    expect(tokenizer.decode([2, 1])).toBe('')
    expect(tokenizer.decode([])).toBe('')
    expect(tokenizer.decode([5000, 68])).toBe('a')
  })
})

test('vocab.json and merges.txt alone give the same ids and texts', async () => {
  await rm(join(folder, 'tokenizer.json'))
  const older = await openTokenizer(folder)
  for (const { text, ids } of CASES) {
    expect(older.encode(text)).toEqual(tokenizer.encode(text))
    expect(older.decode(ids)).toBe(tokenizer.decode(ids))
  }
  expect(older.vocabularySize).toBe(tokenizer.vocabularySize)
})

test.each([
  ['an ordinary', false, 'bad_tokenizer'],
  ['a special', true, undefined],
])('%s added token is not given the id of another one', async (_, special, code) => {
  await editTokenizer((definition) => {
    definition.model.vocab['gap'] = 297
  })
  const added_tokens_decoder = { 297: { content: '<loc_1>', special } }
  await writeFile(join(folder, 'tokenizer_config.json'), JSON.stringify({ added_tokens_decoder }))
  if (code) expect(await codeOf()).toBe(code)
  else expect((await openTokenizer(folder)).decode([297])).toBe('gap')
})

test('its size is one more than the largest id a text can have', () => {
  expect(tokenizer.vocabularySize).toBe(296)
})

/** The parts of tokenizer.json that are spoilt below. */
interface Definition {
  model: { vocab: Record<string, number>; merges: [string, string][] }
  added_tokens?: object[]
  pre_tokenizer: { use_regex: boolean }
  post_processor: { single: object[] }
}

async function editTokenizer(edit: (definition: Definition) => void): Promise<void> {
  const path = join(folder, 'tokenizer.json')
  const definition = JSON.parse(await readFile(path, 'utf8'))
  edit(definition)
  await writeFile(path, JSON.stringify(definition))
}

async function codeOf(): Promise<string> {
  const error = await openTokenizer(folder).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(ArtifactError)
  return (error as ArtifactError).code
}

test.each<[string, (definition: Definition) => void]>([
  ['an id of four billion', ({ model }) => Object.assign(model.vocab, { x: 4e9 })],
  ['a negative id', ({ model }) => Object.assign(model.vocab, { x: -1 })],
  ['half an id', ({ model }) => Object.assign(model.vocab, { x: 1.5 })],
  ['an added id of a billion', ({ added_tokens }) => Object.assign(added_tokens![0]!, { id: 1e9 })],
  ['an added token without text', ({ added_tokens }) => Object.assign(added_tokens![0]!, { content: 5 })],
  ['no added tokens', (definition) => delete definition.added_tokens],
  ['another algorithm', ({ model }) => Object.assign(model, { type: 'Unigram' })],
  ['no merges', ({ model }) => Object.assign(model, { merges: null })],
  ['merges that are numbers', ({ model }) => Object.assign(model, { merges: [1, 2] })],
  ['an unknown step', (definition) => Object.assign(definition, { pre_tokenizer: { type: 'Nope' } })],
  [
    'a broken pattern',
    (definition) =>
      Object.assign(definition, {
        pre_tokenizer: { type: 'Split', pattern: { Regex: '((' }, behavior: 'Isolated' },
      }),
  ],
  [
    'a beginning that is no token',
    ({ post_processor }) =>
      Object.assign(post_processor.single[0]!, { SpecialToken: { id: 'nope', type_id: 0 } }),
  ],
])('rejects tokenizer.json with %s', async (_, edit) => {
  await editTokenizer(edit)
  expect(await codeOf()).toBe('bad_tokenizer')
})

test.each([
  ['tokenizer.json', '[]', 'bad_tokenizer'],
  ['tokenizer.json', 'null', 'bad_tokenizer'],
  ['tokenizer.json', '{', 'unreadable_file'],
  ['tokenizer_config.json', '[]', 'bad_tokenizer'],
  ['tokenizer_config.json', '{', 'unreadable_file'],
  ['tokenizer_config.json', '{"additional_special_tokens": 5}', 'bad_tokenizer'],
])('rejects %s that holds %s, though vocab.json is whole', async (file, content, code) => {
  await writeFile(join(folder, file), content)
  expect(await codeOf()).toBe(code)
})

test.each([
  ['vocab.json', '{"a": "b"}', 'bad_tokenizer'],
  ['vocab.json', '{"a": 1}', 'bad_tokenizer'],
  ['vocab.json', '[]', 'bad_tokenizer'],
  ['added_tokens.json', '{"<image>": 4e9}', 'bad_tokenizer'],
  ['vocab.json', undefined, 'no_tokenizer'],
  ['merges.txt', undefined, 'no_tokenizer'],
])('without tokenizer.json rejects %s that holds %s', async (file, content, code) => {
  await rm(join(folder, 'tokenizer.json'))
  await writeFile(join(folder, 'tokenizer_config.json'), '{"bos_token": "</s>", "add_bos_token": true}')
  if (content === undefined) await rm(join(folder, file))
  else await writeFile(join(folder, file), content)
  expect(await codeOf()).toBe(code)
})

test.each<[string, (path: string) => unknown]>([
  ['a pipe', (path) => execFileSync('mkfifo', [path])],
  ['an endless device', (path) => symlink('/dev/zero', path)],
  ['a link to itself', (path) => symlink(path, path)],
])('rejects tokenizer.json that is %s, at once', async (_, make) => {
  await rm(join(folder, 'tokenizer.json'))
  await make(join(folder, 'tokenizer.json'))
  expect(await codeOf()).toBe('unreadable_file')
})

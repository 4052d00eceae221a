// `glimpse evaluate` as a process, on files of a user's own: what is right, and how precisions compare.

import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { glimpse, ROOT } from './glimpse.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  for (const name of ['guitars', 'crab-and-helicopter'])
    await cp(join(ROOT, `models/demo/${name}.png`), join(folder, `${name}.png`))
})
afterAll(() => rm(folder, { recursive: true }))

const CSV = `image,caption,question,answer
guitars.png,"Five guitars, on the green background!",,
guitars.png,three guitars on a green background,,
crab-and-helicopter.png,"a ""lobster""|a crab to the left of a helicopter on a yellow background",,

nothere.png,a cat,,
guitars.png,,how many guitars are there?,5|five
guitars.png,,what is this?,a violin
`

test('a CSV file: texts are right without case, punctuation and articles; precisions are compared', async () => {
  const file = join(folder, 'mine.csv')
  await writeFile(file, CSV)
  const { out, err, code } = await glimpse(['evaluate', file, '--precisions', 'fp32,int8', '--json'])
  expect(code).toBe(0)
  expect(err).toContain('nothere.png: Expected a picture')
  const [full, small] = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(full).toMatchObject({
    set: 'mine.csv',
    model: 'fp32',
    captions: { right: 2, asked: 3 },
    questions: { right: 1, asked: 2 },
    same_as_first: 5,
  })
  // Of four words that count (five or three, guitars, on, green, background) one differs.
  expect(full.captions.word_overlap).toBeCloseTo((1 + 4 / 5 + 1) / 3)
  expect(full.rows[3]).toMatchObject({
    question: 'how many guitars are there?',
    expected: ['5', 'five'],
    got: 'five',
  })
  expect(small).toMatchObject({ model: 'int8', captions: { asked: 3 }, questions: { asked: 2 } })
  const table = await glimpse(['evaluate', file, '--precisions', 'fp32'])
  expect(table.out).toMatch(/^mine\.csv: 5 rows\n +fp32\n {2}captions right +2 of 3\n/)
})

test('a JSON lines file with several right texts, against another artifact', async () => {
  const file = join(folder, 'mine.jsonl')
  const rows = [
    { image: 'guitars.png', question: 'what is this?', answer: ['a guitar', 'five guitars', 'guitars'] },
  ]
  await writeFile(file, `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`)
  const artifact = join(folder, 'artifact')
  const build = [
    'build',
    join(ROOT, 'models/pico'),
    '--out',
    artifact,
    '--precision',
    'int8',
    '--name',
    'other',
  ]
  await glimpse(build)
  const { out } = await glimpse(['evaluate', file, '--against', artifact, '--json'])
  const reports = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(reports.map(({ model }) => model)).toEqual(['glimpse-pico fp32', 'other int8'])
  for (const { questions } of reports) expect(questions).toEqual({ right: 1, asked: 1 })
})

test.each([
  ['bad.csv', 'image,caption\nguitars.png,\n', 'in row 1 of'],
  ['bad.jsonl', 'guitars.png\n', 'got "guitars.png"'],
  ['empty.csv', 'image,caption\n', 'has no rows'],
])('%s says what is wrong', async (name, text, words) => {
  const file = join(folder, name)
  await writeFile(file, text)
  const { err, code } = await glimpse(['evaluate', file])
  expect(code).toBe(1)
  expect(err).toContain(words)
})

test('an artifact has one precision', async () => {
  const artifact = join(folder, 'small')
  await glimpse(['build', join(ROOT, 'models/pico'), '--out', artifact])
  await writeFile(join(folder, 'one.csv'), 'image,caption\nguitars.png,guitars\n')
  const { err, code } = await glimpse([
    'evaluate',
    join(folder, 'one.csv'),
    '--model',
    artifact,
    '--precisions',
    'int4',
  ])
  expect(code).toBe(1)
  expect(err).toContain('--against <artifact>')
})

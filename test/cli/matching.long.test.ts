// `glimpse match`, `classify` and `embed` on a fixture checkpoint.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { FIXTURES } from '../fixtures.ts'
import { glimpse } from './glimpse.ts'

const PICTURES = ['disc-40x30.png', 'triangle-33x57.png'].map((name) => join(FIXTURES, 'references', name))
let room: string
let model: string
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  model = join(room, 'itm')
  await buildArtifact(join(FIXTURES, 'checkpoints/itm'), model, { precision: 'fp32', trial: false })
})
afterAll(() => rm(room, { recursive: true }))

test('match: probability, contrastive score and text, best first', async () => {
  const { out } = await glimpse(['match', PICTURES[0]!, 'a cat', 'a dog', '--model', model])
  const lines = out.trimEnd().split('\n')
  expect(lines.map((line) => line.slice(-5)).sort()).toEqual(['a cat', 'a dog'])
  for (const line of lines) expect(line).toMatch(/^ *\d+\.\d% {2} *-?\d\.\d{3} {2}a (cat|dog)$/)
  const percents = lines.map((line) => Number.parseFloat(line))
  expect(percents[0]).toBeGreaterThan(percents[1]!)
})

test('classify: a line for each picture; a file that is none costs only its own', async () => {
  const { out, err, code } = await glimpse([
    ...['classify', PICTURES[0]!, join(room, 'none.png'), PICTURES[1]!],
    ...['--labels', 'a cat, a dog', '--json', '--model', model],
  ])
  const rows = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(rows.map(({ image }) => image)).toEqual(PICTURES)
  for (const { prediction, score, predictions } of rows) {
    expect(predictions.map(({ label }: { label: string }) => label).sort()).toEqual(['a cat', 'a dog'])
    expect({ label: prediction, score }).toEqual(predictions[0])
    expect(score).toBeGreaterThan(predictions[1].score)
  }
  expect(err).toContain('there is no such file')
  expect(code).toBe(1)
})

test('embed: a row for each picture', async () => {
  const file = join(room, 'x.npy')
  const { err } = await glimpse(['embed', ...PICTURES, '--out', file, '--model', model])
  expect(err).toContain('2 of 2')
  const bytes = await readFile(file)
  expect(bytes.toString('latin1')).toContain("'shape': (2, 6, 10)")
  expect(bytes.length).toBe(10 + bytes.readUInt16LE(8) + 4 * 2 * 6 * 10)
  const list = (await readFile(`${file}.inputs.jsonl`, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(list.slice(1).map(({ input }) => input)).toEqual(PICTURES)
})

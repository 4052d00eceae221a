// `index`, `search` and `duplicates` as a user runs them, in all their forms, with a tiny model of random weights: what is found means nothing,
// but it is the same in every run.

import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { FIXTURES } from '../fixtures.ts'
import { glimpse, ROOT } from './glimpse.ts'

let folder: string
let pictures: string
let env: Record<string, string>
const model = () => ['--model', join(folder, 'itm')]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-cli-search-'))
  pictures = join(folder, 'pictures')
  env = { GLIMPSE_STATE: join(folder, 'state'), GLIMPSE_CACHE: join(folder, 'cache') }
  for (const name of ['itm', 'itm-odd']) {
    await buildArtifact(join(FIXTURES, 'checkpoints', name), join(folder, name), { precision: 'fp32' })
  }
  await mkdir(join(pictures, 'more'), { recursive: true })
  const demo = join(ROOT, 'models/demo')
  await cp(join(demo, 'guitars.png'), join(pictures, 'guitars.png'))
  await cp(join(demo, 'guitars.png'), join(pictures, 'more/the same guitars.png'))
  await cp(join(demo, 'train-on-white.png'), join(pictures, 'more/train.png'))
  await writeFile(join(pictures, 'text.jpg'), 'This is a text.')
  await writeFile(join(pictures, 'phone.heic'), Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic'))
})
afterAll(() => rm(folder, { recursive: true }))

test('before an index there is a sentence that says how to make one', async () => {
  const { code, err } = await glimpse(['search', 'a guitar', ...model()], env)
  expect(code).toBe(1)
  expect(err).toContain('Make it: npx glimpse index <folders>')
})

test('index, index again, search, duplicates, and another model', async () => {
  const first = await glimpse(['index', pictures, ...model()], env)
  expect(first.out).toBe('5 pictures: 3 added, 0 changed, 0 copied, 0 removed, 0 unchanged, 2 skipped\n')
  expect(first.err).toContain(`skipped ${join(pictures, 'phone.heic')}: Expected a JPEG`)
  expect(first.err).toContain('a HEIC picture')
  expect(first.err).toContain(`skipped ${join(pictures, 'text.jpg')}`)
  expect(first.code).toBe(0)

  await rm(join(pictures, 'text.jpg'))
  const again = await glimpse(['index', pictures, '--json', ...model()], env)
  expect(JSON.parse(again.out)).toMatchObject({
    files: 4,
    unchanged: 4,
    removed: 1,
    skipped: [{ path: join(pictures, 'phone.heic') }],
  })

  const found = await glimpse(['search', 'a guitar', '--least-probability', '0', '--json', ...model()], env)
  const rows = found.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(rows.map(({ image }) => image).sort()).toEqual([
    join(pictures, 'guitars.png'),
    join(pictures, 'more/the same guitars.png'),
    join(pictures, 'more/train.png'),
  ])
  for (const row of rows) expect(Object.keys(row)).toEqual(['image', 'contrastive', 'probability'])
  expect(rows.every(({ probability }) => probability > 0 && probability < 1)).toBe(true)

  const like = ['--like', join(pictures, 'guitars.png'), '--folder', join(pictures, 'more')]
  const paths = await glimpse(['search', ...like, '--limit', '1', '--paths', '-0', ...model()], env)
  expect(paths.out).toBe(`${join(pictures, 'more/the same guitars.png')}\0`)

  const twins = await glimpse(['duplicates', '--similarity', '1.1'], env)
  expect(twins.out).toMatch(/^2 pictures, the same file\n {2}.*guitars\.png\n {2}.*guitars\.png\n$/)

  const other = await glimpse(['search', 'a guitar', '--model', join(folder, 'itm-odd')], env)
  expect(other.code).toBe(1)
  expect(other.err).toMatch(
    /Expected vectors of itm-odd \(\w+\) in the index pictures .* but it has those of itm \(\w+\)/,
  )
})

test('a model that does not match is refused with the way out', async () => {
  const plain = join(folder, 'plain')
  await buildArtifact(join(FIXTURES, 'checkpoints/plain'), plain, { precision: 'fp32' })
  const { code, err } = await glimpse(['index', pictures, '--model', plain], env)
  expect(code).toBe(1)
  expect(err).toContain('Expected a model for matching')
})

test.each([
  [['search'], 'Expected a text or --like <file>'],
  [['search', 'x', '--from', '2024-13-01'], 'Expected a day like 2024-06-01'],
  [['search', 'x', '--least-probability', '7'], 'Expected a number from 0 to 1'],
  [['index', '/no/such/folder'], 'Expected a folder or a picture at /no/such/folder but it does not exist'],
])('%j says what is wrong', async (args, words) => {
  const { code, err } = await glimpse([...args, ...model()], env)
  expect(code).toBe(1)
  expect(err).toContain(words)
})

// `index` and `search` as a user runs them (search.long.test.ts has more), with a tiny model of random weights: what is found means nothing,
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
  await buildArtifact(join(FIXTURES, 'checkpoints/itm'), join(folder, 'itm'), { precision: 'fp32' })
  await mkdir(join(pictures, 'more'), { recursive: true })
  const demo = join(ROOT, 'models/demo')
  await cp(join(demo, 'guitars.png'), join(pictures, 'guitars.png'))
  await cp(join(demo, 'guitars.png'), join(pictures, 'more/the same guitars.png'))
  await writeFile(join(pictures, 'text.jpg'), 'This is a text.')
  await writeFile(join(pictures, 'phone.heic'), Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic'))
})
afterAll(() => rm(folder, { recursive: true }))

test('pictures of a folder are found', async () => {
  const indexed = await glimpse(['index', pictures, ...model()], env)
  expect(indexed.out).toBe('4 pictures: 2 added, 0 changed, 0 copied, 0 removed, 0 unchanged, 2 skipped\n')
  expect(indexed.err).toMatch(/skipped .*phone\.heic: Expected a JPEG.* but got a HEIC picture/)
  const found = await glimpse(['search', 'a guitar', '--least-probability', '0', '--json', ...model()], env)
  const rows = found.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(rows.map(({ image }) => image)).toEqual([
    join(pictures, 'guitars.png'),
    join(pictures, 'more/the same guitars.png'),
  ])
  for (const row of rows) expect(Object.keys(row)).toEqual(['image', 'contrastive', 'probability'])
  expect(rows.every(({ probability }) => probability > 0 && probability < 1)).toBe(true)
})

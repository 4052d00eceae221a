// The examples of docs/library.md, run as programs of a user.

import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildArtifact } from '../src/builder/build.ts'
import { FIXTURES } from './fixtures.ts'

const ROOT = join(import.meta.dirname, '..')
const LIBRARY = pathToFileURL(join(ROOT, 'dist/index.js')).href

let room: string
let examples: string[]
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await cp(join(ROOT, 'models/demo/guitars.png'), join(room, 'photo.png'))
  const checkpoint = join(FIXTURES, 'checkpoints/itm')
  await buildArtifact(checkpoint, join(room, 'matcher'), { precision: 'fp32', trial: false })
  const page = await readFile(join(ROOT, 'docs/library.md'), 'utf8')
  examples = [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code!)
})
afterAll(() => rm(room, { recursive: true }))

/** The lines that an example prints. */
async function run(index: number): Promise<string[]> {
  const { code } = await transform(examples[index]!, { loader: 'ts' })
  const file = join(room, `example-${index}.mjs`)
  await writeFile(file, code.replaceAll(/from ['"]glimpse['"]/g, `from ${JSON.stringify(LIBRARY)}`))
  const { stdout } = await promisify(execFile)(process.execPath, [file], { cwd: room })
  return stdout.trimEnd().split('\n')
}

const CAPTION = 'five guitars on a green background'

test('each example of the page is run here', () => expect(examples).toHaveLength(4))

test('a caption and an answer', async () => {
  expect(await run(0)).toEqual([CAPTION, 'five'])
})

test('a stream, a question that follows another without encoding the picture again, a cancellation', async () => {
  const [streamed, followUp, cancelled] = await run(1)
  expect(streamed).toBe(CAPTION)
  expect(followUp).toBe('green 0')
  expect(cancelled).toBe('cancelled')
})

test('matching and features', async () => {
  const lines = await run(2)
  expect(lines).toHaveLength(3)
  const probabilities = lines.slice(0, 2).map((line) => Number(line.split(' ').at(-1)))
  expect(probabilities[0]).toBeGreaterThanOrEqual(probabilities[1]!)
  for (const one of probabilities) expect(one).toBeGreaterThan(0)
  expect(lines[2]).toMatch(/^\[ \d+, \d+ \]$/)
})

test('an error', async () => {
  expect(await run(3)).toEqual(['no_picture'])
})

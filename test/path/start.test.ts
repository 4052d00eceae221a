// `npm start` as a newcomer meets it: what it prints works when pasted, and the page answers truly.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { lineIn, ROOT, type Running, startGlimpse } from '../cli/glimpse.ts'

const CAPTION = 'a crab to the left of a helicopter on a yellow background'
const run = promisify(execFile)

let server: Running
const lineOf = (label: string) => lineIn(server.printed(), label)

beforeAll(async () => {
  // As SageMaker starts it, which adds a word.
  server = await startGlimpse(['serve', 'serve'])
})
afterAll(async () => {
  expect(await server.stop()).toBe(0)
})

test('the model is ready under the names that platforms ask for', async () => {
  const page = lineOf('Page')
  for (const path of ['ping', 'readyz', 'v2/health/ready'])
    expect(await (await fetch(`${page}${path}`)).json()).toMatchObject({ ready: true })
})

test('the curl line answers with the caption', async () => {
  const { stdout } = await run('bash', ['-c', `${lineOf('HTTP')} --silent`], { cwd: ROOT })
  expect(JSON.parse(stdout)).toMatchObject({ text: CAPTION, prompt: '' })
})

test('the command line example answers', async () => {
  const { stdout } = await run('bash', ['-c', lineOf('Command line')], { cwd: ROOT })
  expect(stdout.trim()).toBe('a crab')
})

// What `glimpse serve` prints at its start works when pasted into a shell.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { lineIn, ROOT, type Running, startGlimpse } from '../cli/glimpse.ts'

const CAPTION = 'a crab to the left of a helicopter on a yellow background'
const run = promisify(execFile)

let server: Running
const lineOf = (label: string) => lineIn(server.printed(), label)

beforeAll(async () => {
  // SageMaker adds the argument `serve` to the entry point.
  server = await startGlimpse(['serve', 'serve'])
})
afterAll(async () => {
  expect(await server.stop()).toBe(0)
})

test('/ping, /readyz and /v2/health/ready answer that the model is ready', async () => {
  const page = lineOf('Page')
  for (const path of ['ping', 'readyz', 'v2/health/ready'])
    expect(await (await fetch(`${page}${path}`)).json()).toMatchObject({ ready: true })
})

test('the printed curl command gets the caption', async () => {
  const { stdout } = await run('bash', ['-c', `${lineOf('HTTP')} --silent`], { cwd: ROOT })
  expect(JSON.parse(stdout)).toMatchObject({ text: CAPTION, prompt: '' })
})

test('the printed `glimpse ask` command gets the answer', async () => {
  const { stdout } = await run('bash', ['-c', lineOf('Command line')], { cwd: ROOT })
  expect(stdout.trim()).toBe('a crab')
})

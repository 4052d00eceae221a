// `npm start` as a newcomer meets it: what it prints works when pasted, and the page answers truly.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const PICTURE = join(ROOT, 'models/demo/crab-and-helicopter.png')
const CAPTION = 'a crab to the left of a helicopter on a yellow background'
const run = promisify(execFile)

let server: ChildProcess
let printed = ''
const lineOf = (label: string) => new RegExp(`^ *${label} +(.*)$`, 'm').exec(printed)![1]!

beforeAll(async () => {
  // As platforms start it: with the port in PORT, and with the word that SageMaker adds.
  const env = { ...process.env, PORT: '0' }
  server = spawn(process.execPath, ['dist/cli/main.js', 'serve', 'serve'], { cwd: ROOT, env })
  await new Promise<void>((resolve, reject) => {
    server.stdout!.on('data', (text) => {
      printed += text
      if (printed.includes('Ctrl-C')) resolve()
    })
    server.once('exit', () => reject(new Error(`It ended before it was ready: ${printed}`)))
  })
})
afterAll(async () => {
  const ended = new Promise((resolve) => server.once('exit', resolve))
  server.kill('SIGTERM')
  expect(await ended).toBe(0)
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

const browserPath = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/google-chrome'].find(
  (path) => path !== undefined && existsSync(path),
)
describe.skipIf(browserPath === undefined)('in a browser (Debian: apt-get install chromium)', () => {
  test('the page captions the picture and answers questions about it, the second knowing the first', async () => {
    const browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] })
    try {
      const page = await browser.newPage()
      await page.goto(lineOf('Page'))
      await page.setInputFiles('input[type=file]', PICTURE)
      await page.getByText(CAPTION).first().waitFor()
      for (const [question, answer] of [
        ['what is on the left?', 'a crab'],
        ['What is on the right', 'a helicopter'],
      ]) {
        await page.fill('#question', question!)
        await page.keyboard.press('Enter')
        await page.getByText(answer!, { exact: true }).first().waitFor()
      }
    } finally {
      await browser.close()
    }
  })
})

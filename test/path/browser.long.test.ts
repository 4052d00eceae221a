// The page of `glimpse serve` in a real browser, with the embedded model.

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBrowser } from '../browser.ts'
import { lineIn, ROOT, type Running, startGlimpse } from '../cli/glimpse.ts'

let server: Running
beforeAll(async () => {
  server = await startGlimpse(['serve'])
})
afterAll(async () => {
  expect(await server.stop()).toBe(0)
})

test('the page captions a picture and answers two questions about it', async () => {
  const browser = await openBrowser()
  try {
    const page = await browser.newPage()
    await page.goto(lineIn(server.printed(), 'Page'))
    await page.setInputFiles('input[type=file]', join(ROOT, 'models/demo/crab-and-helicopter.png'))
    await page.getByAltText('A crab to the left of a helicopter on a yellow background.').waitFor()
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

// `npm start`, and its page in a real browser, with the embedded model.

import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBrowser } from '../browser.ts'
import { CAPTION, PICTURE, type Serve, startServe } from './serve.ts'

let server: Serve
beforeAll(async () => {
  server = await startServe()
})
afterAll(async () => {
  expect(await server.stop()).toBe(0)
})

test('the page captions the picture and answers questions about it, the second knowing the first', async () => {
  const browser = await openBrowser()
  try {
    const page = await browser.newPage()
    await page.goto(server.lineOf('Page'))
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

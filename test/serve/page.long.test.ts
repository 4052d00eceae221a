// The page in a real browser: pictures are sent in all the ways people use, and replies are shown.

import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BusyError } from '../../src/errors.ts'
import { configureLog } from '../../src/observe/log.ts'
import { type RunningServer, startServer } from '../../src/serve/server.ts'
import { openBrowser } from '../browser.ts'
import { ALT_TEXT as CAPTION, type Double, doubleEngine, PNG } from './double.ts'

describe('the page', () => {
  let browser: Browser
  let engine: Double
  let server: RunningServer
  let page: Page
  let complaints: string[]

  beforeAll(async () => {
    configureLog('json', { write: () => {} })
    browser = await openBrowser()
  })
  afterAll(() => browser.close())

  beforeEach(async () => {
    engine = doubleEngine(20)
    server = await startServer(engine, { port: 0, graceMs: 100, report: () => {} })
    page = await browser.newPage()
    page.setDefaultTimeout(30_000)
    complaints = []
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('request', (request) => {
      if (!request.url().startsWith(server.url) && !request.url().startsWith('blob:'))
        complaints.push(request.url())
    })
    page.on('console', (message) => {
      if (/Content Security Policy|Uncaught/.test(message.text())) complaints.push(message.text())
    })
    await page.goto(server.url)
  })
  afterEach(async () => {
    expect(complaints).toEqual([])
    await page.close()
    await server.close()
  })

  test('/docs shows every route of /openapi.json, in both themes, and opens the one that is linked to', async () => {
    const { paths } = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
      paths: Record<string, object>
    }
    const count = Object.values(paths).flatMap(Object.keys).length
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      await page.goto(`${server.url}/docs#postV1Caption`)
      await page.waitForSelector('#postV1Caption[open]')
      expect(await page.locator('details.operation').count()).toBe(count)
      await page.getByText('num_beams', { exact: true }).first().waitFor({ state: 'attached' })
    }
  })

  /** What a browser does when a file is dropped or pasted, with the file made inside the page. */
  function hand(kind: 'drop' | 'paste', bytes: Uint8Array = PNG, type = 'image/png') {
    return page.evaluate(
      ([kind, bytes, type]) => {
        const transfer = new DataTransfer()
        transfer.items.add(new File([new Uint8Array(bytes)], 'picture', { type }))
        const init = { bubbles: true, cancelable: true }
        document.body.dispatchEvent(
          kind === 'drop'
            ? new DragEvent('drop', { ...init, dataTransfer: transfer })
            : new ClipboardEvent('paste', { ...init, clipboardData: transfer }),
        )
      },
      [kind, [...bytes], type] as const,
    )
  }

  const caption = () => page.getByText(CAPTION, { exact: true }).first().waitFor()

  test('captions a dropped picture, and the caption becomes its alt text', async () => {
    await hand('drop')
    await page.getByAltText(CAPTION, { exact: true }).waitFor()
    expect(await page.locator('#caption').textContent()).toBe(CAPTION)
    expect(await page.getByRole('status').textContent()).toBe(`Caption: ${CAPTION}`)
  })

  test('offers no alt text for a picture that the model does not know', async () => {
    engine.knows(() => false)
    await hand('drop')
    await page.getByText('Something i do not know.', { exact: true }).first().waitFor()
    expect(await page.locator('#picture').getAttribute('alt')).toBe('Your picture')
    expect(await page.getByRole('button', { name: 'Copy alt text' }).isVisible()).toBe(false)
    engine.knows(() => true)
    await page.getByRole('textbox').fill('how many?')
    await page.keyboard.press('Enter')
    await page.getByText('answer 1 to how many?').first().waitFor()
  })

  test('captions a picked one by keyboard alone, and answers with the history, each answer below the last', async () => {
    const chooser = page.waitForEvent('filechooser')
    await page.getByRole('button', { name: 'Choose a picture' }).press('Enter')
    await (await chooser).setFiles({ name: 'a.png', mimeType: 'image/png', buffer: Buffer.from(PNG) })
    await caption()
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('question')
    await page.keyboard.type('What colour?')
    await page.keyboard.press('Enter')
    await page.getByText('answer 1 to What colour?', { exact: true }).first().waitFor()
    await page.getByRole('button', { name: 'How many are there?' }).click()
    await page.getByText('answer 2 to How many are there?', { exact: true }).first().waitFor()
    expect(engine.asks[2]?.history).toEqual([
      { question: 'What colour?', answer: 'answer 1 to What colour?' },
    ])
    expect(await page.locator('#turns .cost summary').first().textContent()).toBe('231 ms, 5 tokens')
    expect(await page.getByRole('button', { name: 'How many are there?' }).count()).toBe(0)
  })

  test('starts a new thread with a pasted picture, and stops what ran for the old one', async () => {
    await hand('drop')
    await caption()
    await page.getByLabel('Your question').fill('What colour?')
    engine.hold()
    await page.getByRole('button', { name: 'Ask', exact: true }).click()
    await expect.poll(() => engine.pending).toBe(1)
    await hand('paste')
    await expect.poll(() => engine.aborted).toBe(1)
    engine.release()
    await caption()
    expect(await page.locator('#turns li').count()).toBe(0)
  })

  test('says in words that a file is no picture, and takes the next one', async () => {
    await hand('drop', new TextEncoder().encode('%PDF-1.7'), 'image/png')
    await page.getByRole('alert').filter({ hasText: 'Expected a picture' }).waitFor()
    await hand('drop')
    await caption()
  })

  test('a file that is no picture costs nothing of the conversation', async () => {
    await hand('drop')
    await caption()
    await hand('drop', new TextEncoder().encode('%PDF-1.7'), 'application/pdf')
    await page.getByRole('alert').filter({ hasText: 'That file is no picture' }).waitFor()
    await caption()
  })

  test('offers to try again when the server is busy, and keeps the question', async () => {
    await hand('drop')
    await caption()
    engine.fail(new BusyError('busy', 'Glimpse is busy.'))
    await page.getByLabel('Your question').fill('What colour?')
    await page.keyboard.press('Enter')
    await page.getByText('Glimpse is busy.').waitFor()
    engine.fail(undefined)
    await page.getByRole('button', { name: 'Try again' }).click()
    await page.getByText('answer 1 to What colour?', { exact: true }).first().waitFor()
  })

  test('shows a hostile question as text', async () => {
    await hand('drop')
    await caption()
    const question = '<img src=x onerror="document.title=1">'
    await page.getByLabel('Your question').fill(question)
    await page.keyboard.press('Enter')
    await page.getByText(`answer 1 to ${question}`, { exact: true }).first().waitFor()
    expect(await page.title()).toBe('Glimpse')
  })

  test('asks for the token of a server that has one, and then answers', async () => {
    // Ends the requests of the first page: they would count as requests to a foreign server.
    await page.goto('about:blank')
    await server.close()
    server = await startServer(engine, { port: 0, graceMs: 100, token: 'token-of-this-test' })
    await page.goto(server.url)
    await page.getByText('Expected the header Authorization').waitFor()
    await page.getByLabel('Token of this server').fill('another')
    await page.keyboard.press('Enter')
    await page.getByText('Expected the token of this server but got another').waitFor()
    await page.getByLabel('Token of this server').fill('token-of-this-test')
    await page.keyboard.press('Enter')
    await page.getByText(engine.model.about?.sees ?? '').waitFor()
    await page.getByLabel('Token of this server').waitFor({ state: 'hidden' })
    await hand('drop')
    await caption()
  })

  test('copies the alt text, says what the model can see, and fits a phone', async () => {
    await page.setViewportSize({ width: 360, height: 640 })
    await page.getByText(engine.model.about?.sees ?? '').waitFor()
    await page.getByText('All 13 things').click()
    await page.getByText('apple, bird').waitFor()
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
    await hand('drop')
    await page.getByRole('button', { name: 'Copy alt text' }).click()
    await page.getByRole('button', { name: 'Copied' }).waitFor()
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(CAPTION)
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
    expect(overflow).toBeLessThanOrEqual(0)
  })
})

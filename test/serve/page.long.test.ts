// The page in a real browser: pictures come in all the ways people use, replies and failures are shown in words, everything
// works by keyboard, and axe-core finds no violation in any view, colours and width.

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BusyError } from '../../src/errors.ts'
import { configureLog } from '../../src/observe/log.ts'
import { type RunningServer, startServer } from '../../src/serve/server.ts'
import { openBrowser } from '../browser.ts'
import { ALT_TEXT as CAPTION, type Double, doubleEngine, PNG } from './double.ts'

const PDF = new TextEncoder().encode('%PDF-1.7')
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js')

describe('the page', () => {
  let browser: Browser
  let context: BrowserContext
  let engine: Double
  let server: RunningServer
  let page: Page
  let complaints: string[]

  beforeAll(async () => {
    configureLog('json', { write: () => {} })
    browser = await openBrowser()
  })
  afterAll(() => browser.close())

  async function open() {
    page = await context.newPage()
    page.setDefaultTimeout(30_000)
    page.on('pageerror', (error) => complaints.push(String(error)))
    page.on('request', (request) => {
      if (!request.url().startsWith(server.url) && !request.url().startsWith('blob:'))
        complaints.push(request.url())
    })
    page.on('console', (message) => {
      if (/Content Security Policy|Uncaught/.test(message.text())) complaints.push(message.text())
    })
    await page.goto(server.url)
  }

  beforeEach(async () => {
    engine = doubleEngine(20)
    server = await startServer(engine, { port: 0, graceMs: 100, report: () => {} })
    context = await browser.newContext()
    complaints = []
    await open()
  })
  afterEach(async () => {
    await context.close()
    await server.close()
    expect(complaints).toEqual([])
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

  /** `size`: as many zeros follow the bytes. */
  type Handed = { bytes?: Uint8Array; size?: number; name?: string; type?: string }
  /** What a browser does when files are dropped or pasted, with the files made inside the page. */
  function hand(kind: 'drop' | 'paste', ...files: Handed[]) {
    const made = (files.length === 0 ? [{}] : files).map(
      ({ bytes = PNG, size = 0, name = 'picture.png', type = 'image/png' }: Handed) =>
        [[...bytes], size, name, type] as [number[], number, string, string],
    )
    return page.evaluate(
      ([kind, made]) => {
        const transfer = new DataTransfer()
        for (const [bytes, size, name, type] of made)
          transfer.items.add(new File([new Uint8Array(bytes), new Uint8Array(size)], name, { type }))
        const init = { bubbles: true, cancelable: true }
        document.body.dispatchEvent(
          kind === 'drop'
            ? new DragEvent('drop', { ...init, dataTransfer: transfer })
            : new ClipboardEvent('paste', { ...init, clipboardData: transfer }),
        )
      },
      [kind, made] as const,
    )
  }

  const altText = () => page.getByRole('textbox', { name: 'Alt text' })
  const question = () => page.getByLabel('Your question')
  const thumbs = () => page.locator('#thumbs button')
  const answer = (text: string) => page.locator('.answer').getByText(text, { exact: true }).waitFor()
  const alert = (text: string) => page.getByRole('alert').filter({ hasText: text }).waitFor()
  const caption = (text = CAPTION) => expect.poll(() => altText().inputValue()).toBe(text)
  const ask = async (text: string) => {
    await question().fill(text)
    await question().press('Enter')
  }

  /** How many pictures the browser keeps. Resolves when all earlier changes are on the disk. */
  const kept = () =>
    page.evaluate(
      () =>
        new Promise<number>((resolve) => {
          const request = indexedDB.open('glimpse')
          request.onsuccess = () => {
            const count = request.result.transaction('pictures').objectStore('pictures').count()
            count.onsuccess = () => resolve(count.result)
          }
        }),
    )

  test('captions a dropped picture; the caption is the alt text of the picture, and is announced once', async () => {
    await hand('drop')
    await page.getByAltText(CAPTION, { exact: true }).waitFor()
    await caption()
    expect(await page.getByRole('status').textContent()).toBe(`Caption: ${CAPTION}`)
  })

  test('offers samples, and what the model can see, before the place for one’s own pictures', async () => {
    const places = ['#samples button', '#about .sees', '#pick'].map((place) => page.locator(place).first())
    await page
      .getByText(engine.model.about?.sees ?? '')
      .first()
      .waitFor()
    const tops = await Promise.all(places.map(async (place) => (await place.boundingBox())!.y))
    const inOrder = await page.evaluate(() =>
      ['samples', 'about', 'pick']
        .map((id) => document.getElementById(id)!)
        .every(
          (element, index, all) =>
            index === 0 ||
            all[index - 1]!.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING,
        ),
    )
    expect(inOrder).toBe(true)
    expect(tops.every((top) => top > 0)).toBe(true)
    await page.getByText('All 13 things').click()
    await page.getByText('apple, bird').waitFor()
    expect(await page.locator('#about .larger').isVisible()).toBe(false)
    const sample = page.getByRole('button', { name: 'Crab and helicopter' })
    await sample.click()
    await caption()
    await page.getByRole('button', { name: 'Add pictures' }).click()
    await sample.click()
    expect(await thumbs().count()).toBe(1)
  })

  test('says in the model’s words what it does not know, and points to a model for photographs', async () => {
    engine.knows(() => false)
    Object.assign(engine.model.about!, { photographs: 'owner/larger', sees_in: { de: 'Nur Emoji.' } })
    await page.reload()
    await hand('drop')
    await page.getByText('“Something I do not know.”').waitFor()
    expect(await page.locator('#picture').getAttribute('alt')).toBe('Your picture')
    expect(await altText().inputValue()).toBe('')
    expect(await page.getByRole('button', { name: 'Copy alt text' }).isDisabled()).toBe(true)
    await page.locator('#unknown').getByText('A model for photographs').click()
    await page.locator('#unknown').getByText('npx glimpse serve --model owner/larger').waitFor()
    await page.getByLabel('Language').selectOption('de')
    await page.locator('#unknown').getByText('Nur Emoji.').waitFor()
    engine.knows(() => true)
    await page.getByLabel('Deine Frage').fill('how many?')
    await page.keyboard.press('Enter')
    await answer('answer 1 to how many?')
  })

  test('everything works by keyboard: choose, ask, edit, copy, remove', async () => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write'])
    const chooser = page.waitForEvent('filechooser')
    await page.getByRole('button', { name: 'Choose pictures' }).press('Enter')
    await (await chooser).setFiles({ name: 'a.png', mimeType: 'image/png', buffer: Buffer.from(PNG) })
    await caption()
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('question')
    await page.keyboard.type('What colour?')
    await page.keyboard.press('Enter')
    await answer('answer 1 to What colour?')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('question')
    await page.getByRole('button', { name: 'How many are there?' }).press('Enter')
    await answer('answer 2 to How many are there?')
    expect(engine.asks[2]?.history).toEqual([
      { question: 'What colour?', answer: 'answer 1 to What colour?' },
    ])
    expect(await page.getByRole('button', { name: 'How many are there?' }).count()).toBe(0)

    await altText().press('End')
    await page.keyboard.type(' By me.')
    await page.getByAltText(`${CAPTION} By me.`, { exact: true }).waitFor()
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('copy')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Copied' }).waitFor()
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(`${CAPTION} By me.`)
    await page.getByRole('button', { name: 'Undo changes' }).press('Enter')
    await caption()

    await page.getByRole('button', { name: 'Remove this picture' }).press('Enter')
    await page.getByRole('button', { name: 'Choose pictures' }).waitFor()
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('pick')
    expect(await thumbs().count()).toBe(0)
  })

  test('captions several pictures, and each keeps its conversation, its draft and its edited text', async () => {
    await hand('drop', { name: 'a.png' }, { name: 'b.png' }, { name: 'c.png' })
    await expect.poll(() => thumbs().count()).toBe(3)
    await caption()
    await ask('What colour?')
    await answer('answer 1 to What colour?')
    await question().fill('half a ques')
    await altText().fill('My own words.')
    await expect.poll(() => page.locator('#thumbs .busy').count()).toBe(0)
    await thumbs().nth(2).click()
    await caption()
    expect(await page.locator('#turns li').count()).toBe(0)
    expect(await question().inputValue()).toBe('')
    await thumbs().nth(0).click()
    await answer('answer 1 to What colour?')
    expect(await question().inputValue()).toBe('half a ques')
    expect(await altText().inputValue()).toBe('My own words.')
    expect(await thumbs().nth(0).getAttribute('aria-current')).toBe('true')
    expect(engine.asks.filter(({ task }) => task === 'caption')).toHaveLength(3)
  })

  test('keeps pictures and conversations over a reload, until they are cleared', async () => {
    await hand('drop')
    await caption()
    await ask('What colour?')
    await answer('answer 1 to What colour?')
    await altText().fill('My own words.')
    engine.hold()
    await ask('And this?')
    await expect.poll(() => engine.pending).toBe(1)
    expect(await kept()).toBe(1)
    await page.reload()
    await thumbs().first().click()
    await answer('answer 1 to What colour?')
    expect(await altText().inputValue()).toBe('My own words.')
    engine.release()
    await page.locator('#turns').getByRole('button', { name: 'Try again' }).click()
    await answer('answer 2 to And this?')

    await page.getByRole('button', { name: 'Clear', exact: true }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    expect(await thumbs().count()).toBe(1)
    await page.getByRole('button', { name: 'Clear', exact: true }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByRole('button', { name: 'Choose pictures' }).waitFor()
    await page.reload()
    await page
      .getByText(engine.model.about?.sees ?? '')
      .first()
      .waitFor()
    await expect.poll(kept).toBe(0)
    expect(await thumbs().count()).toBe(0)
  })

  test('what one tab clears, another does not bring back', async () => {
    await hand('drop')
    await caption()
    const other = page
    await open()
    await page.getByRole('button', { name: 'Clear', exact: true }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await expect.poll(kept).toBe(0)
    page = other
    await ask('What colour?')
    await answer('answer 1 to What colour?')
    await hand('drop', { name: 'new.png' })
    await expect.poll(() => thumbs().count()).toBe(2)
    await caption()
    expect(await kept()).toBe(1)
    await page.reload()
    await expect.poll(() => thumbs().count()).toBe(1)
    await thumbs().first().click()
    await caption()
    expect(await page.locator('#turns li').count()).toBe(0)
  })

  test('a question goes on while another picture is shown', async () => {
    await hand('drop')
    await caption()
    engine.hold()
    await ask('What colour?')
    await expect.poll(() => engine.pending).toBe(1)
    await hand('paste')
    await expect.poll(() => thumbs().count()).toBe(2)
    engine.release()
    await caption()
    expect(engine.aborted).toBe(0)
    await thumbs().first().click()
    await answer('answer 1 to What colour?')
  })

  test.each([
    ['by its type', 'application/pdf'],
    ['by its bytes', 'image/png'],
  ])('a file that is no picture, %s, is named and costs nothing of the conversation', async (_, type) => {
    await hand('drop')
    await caption()
    await ask('What colour?')
    await answer('answer 1 to What colour?')
    await question().fill('half a ques')
    await hand('drop', { bytes: PDF, name: 'notes.pdf', type })
    await alert('Glimpse cannot read this as a picture: notes.pdf.')
    await caption()
    await answer('answer 1 to What colour?')
    expect(await question().inputValue()).toBe('half a ques')
    expect(await thumbs().count()).toBe(1)
    await page.getByRole('button', { name: 'Close' }).click()
    expect(await page.locator('#notice').isVisible()).toBe(false)
  })

  test('of several files, those that are no pictures are named and the others captioned', async () => {
    await hand(
      'drop',
      { bytes: PDF, name: 'a.pdf', type: 'application/pdf' },
      {},
      {
        bytes: new Uint8Array(),
        name: 'empty.png',
      },
    )
    await alert('a.pdf, empty.png')
    await caption()
    await hand('drop', { size: 21 * 1024 * 1024, name: 'huge.png' })
    await alert('Too large: huge.png.')
    expect(await thumbs().count()).toBe(1)
  })

  test('tries again by itself what passes, says so, and keeps the question', async () => {
    await hand('drop')
    await caption()
    engine.fail(new BusyError('busy', 'Internal words.'))
    await ask('What colour?')
    await alert('Glimpse has a lot to do. Next try in')
    engine.fail(undefined)
    await page.getByRole('button', { name: 'Try now' }).click()
    await answer('answer 1 to What colour?')
  })

  test.each([
    [413, 'picture_too_large', 'Too large: picture.png.', true],
    [415, 'not_a_picture', 'Glimpse cannot read this as a picture: picture.png.', true],
    [413, undefined, 'Too large: picture.png.', true],
    [429, 'busy', 'Glimpse has a lot to do. Next try in 7 seconds.', false],
    [503, 'restarting', 'Glimpse is getting ready. Next try in 7 seconds.', false],
    [
      502,
      undefined,
      'Glimpse cannot be reached. Perhaps it is being restarted. Next try in 7 seconds.',
      false,
    ],
    [504, 'deadline', 'That took too long.', false],
    [500, 'internal', 'Something went wrong in Glimpse.', false],
  ])('status %i with the code %s is a sentence', async (status, code, sentence, isRefused) => {
    let failing = true
    await page.route('**/v1/caption', (route) =>
      failing
        ? route.fulfill({
            status,
            headers: { 'retry-after': '7' },
            body: code ? JSON.stringify({ error: { code, message: 'Words of a program.' } }) : '<html>',
          })
        : route.continue(),
    )
    await hand('drop')
    await alert(sentence)
    expect(await page.getByText('Words of a program.').isVisible()).toBe(false)
    expect(await thumbs().count()).toBe(isRefused ? 0 : 1)
    if (isRefused) return
    failing = false
    await page.getByRole('button', { name: /^Try (now|again)$/ }).click()
    await caption()
  })

  test('without a server or a network nothing is lost', async () => {
    await hand('drop')
    await caption()
    await context.setOffline(true)
    await ask('What colour?')
    await alert('You are offline. Nothing is lost.')
    await context.setOffline(false)
    await answer('answer 1 to What colour?')
    await page.route('**/v1/answer', (route) => route.abort('connectionrefused'))
    await ask('How many?')
    await alert('Glimpse cannot be reached. Perhaps it is being restarted. Next try in')
    await page.unroute('**/v1/answer')
    await page.getByRole('button', { name: 'Try now' }).click()
    await answer('answer 2 to How many?')
  })

  test('a stream that breaks off is tried again; one that is stopped says so and can be asked again', async () => {
    await hand('drop')
    await caption()
    await page.route('**/v1/answer', (route) =>
      route.fulfill({ contentType: 'text/event-stream', body: 'event: token\ndata: {"text":"answ"}\n\n' }),
    )
    await ask('What colour?')
    await alert('The answer broke off.')
    await page.locator('.answer').getByText('answ', { exact: true }).waitFor()
    await page.unroute('**/v1/answer')
    await page.getByRole('button', { name: 'Try now' }).click()
    await answer('answer 1 to What colour?')
    engine.hold()
    await ask('How many?')
    await expect.poll(() => engine.pending).toBe(1)
    await page.getByRole('button', { name: 'Stop' }).press('Enter')
    await alert('Stopped.')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('question')
    engine.release()
    await page.getByRole('button', { name: 'Try again' }).click()
    await answer('answer 2 to How many?')
  })

  test('a picture that the browser cannot show has a sentence in its place, and is captioned', async () => {
    await hand('drop', { bytes: PNG.subarray(0, 8), name: 'scan.tiff' })
    await page.getByText('This browser cannot show the picture.').waitFor()
    await caption()
    expect(await thumbs().first().textContent()).toBe('tiff')
  })

  test('shows a hostile question as text', async () => {
    await hand('drop')
    await caption()
    const hostile = '<img src=x onerror="document.title=1">'
    await ask(hostile)
    await answer(`answer 1 to ${hostile}`)
    expect(await page.title()).toBe('Glimpse')
  })

  test('asks for the token of a server that has one, and then answers', async () => {
    // Ends the requests of the first page: they would count as requests to a foreign server.
    await page.goto('about:blank')
    await server.close()
    server = await startServer(engine, { port: 0, graceMs: 100, token: 'token-of-this-test' })
    await page.goto(server.url)
    await page.getByText('asks for an access code').waitFor()
    await page.getByLabel('Access code').fill('another')
    await page.keyboard.press('Enter')
    await page.getByText('That is not the access code').waitFor()
    await page.getByLabel('Access code').fill('token-of-this-test')
    await page.keyboard.press('Enter')
    await page
      .getByText(engine.model.about?.sees ?? '')
      .first()
      .waitFor()
    await page.getByLabel('Access code').waitFor({ state: 'hidden' })
    await hand('drop')
    await caption()
  })

  test.each([
    ['de', 'Was ist auf deinem Bild?'],
    ['es', '¿Qué hay en tu imagen?'],
    ['fr', 'Qu’y a-t-il sur votre image ?'],
    ['ja', '画像に何が写っていますか？'],
  ])('speaks %s where the browser does, and another language when told', async (locale, title) => {
    await context.close()
    context = await browser.newContext({ locale })
    await open()
    await page.getByRole('heading', { name: title }).waitFor()
    expect(await page.evaluate(() => document.documentElement.lang)).toBe(locale)
    await page.locator('#language').selectOption('en')
    await page.getByRole('heading', { name: 'What is in your picture?' }).waitFor()
    await page.reload()
    await page.getByRole('heading', { name: 'What is in your picture?' }).waitFor()
  })

  test('has the colours that were chosen, also after a reload', async () => {
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    const light = await paper()
    await page.getByLabel('Colours').selectOption('dark')
    const dark = await paper()
    expect(dark).not.toBe(light)
    await page.reload()
    expect(await paper()).toBe(dark)
    await page.getByLabel('Colours').selectOption('auto')
    expect(await paper()).toBe(light)
    await page.emulateMedia({ colorScheme: 'dark' })
    expect(await paper()).toBe(dark)
  })

  describe.each([
    [360, 768],
    [768, 1024],
    [1440, 900],
    [740, 360],
  ])('at %i x %i', (width, height) => {
    test.each(['light', 'dark'] as const)('has no accessibility violation (%s)', async (colorScheme) => {
      await page.setViewportSize({ width, height })
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      Object.assign(engine.model.about!, { photographs: 'owner/larger' })
      await page.reload()
      await page
        .getByText(engine.model.about?.sees ?? '')
        .first()
        .waitFor()
      const axe = await readFile(AXE, 'utf8')
      const violations = async () => {
        // Not as a script element: the page's content security policy refuses those.
        await page.evaluate(axe)
        const found = await page.evaluate(() =>
          (
            window as unknown as { axe: { run: () => Promise<Record<'violations' | 'passes', unknown[]>> } }
          ).axe.run(),
        )
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
        expect(overflow).toBeLessThanOrEqual(0)
        expect(found.passes.length).toBeGreaterThan(10)
        return found.violations
      }
      for (const details of await page.locator('#about summary').all()) await details.click()
      expect(await violations()).toEqual([])
      await hand('drop', {}, {})
      await caption()
      for (const words of ['What colour?', 'How many?', 'Where?', 'Why?', 'When?', 'Who?']) {
        await ask(words)
        await page.locator('#turns li').filter({ hasText: words }).locator('.answer:not(:empty)').waitFor()
        await page.getByRole('button', { name: 'Ask', exact: true }).waitFor()
      }
      const box = await page.locator('#picture').boundingBox()
      expect(box!.y).toBeGreaterThanOrEqual(0)
      expect(box!.y + box!.height).toBeLessThanOrEqual(height)
      await hand('drop', { bytes: PDF, name: 'notes.pdf', type: 'application/pdf' })
      await alert('notes.pdf')
      expect(await violations()).toEqual([])
      await page.getByRole('button', { name: 'Clear', exact: true }).click()
      expect(await violations()).toEqual([])
      await page.keyboard.press('Escape')
      engine.knows(() => false)
      await hand('drop')
      await page.getByText('“Something I do not know.”').waitFor()
      await page.locator('#unknown summary').click()
      expect(await violations()).toEqual([])
    })
  })
})

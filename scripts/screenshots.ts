// npm run screenshots: docs/page-light.webp and docs/page-dark.webp, the page with the embedded model as the README shows it.
// Needs chromium and libvips' WebP, which comes with sharp.

import { join } from 'node:path'
import type { Page } from 'playwright-core'
import sharp from 'sharp'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { readConfig } from '../src/config.ts'
import { startEngine } from '../src/engine/engine.ts'
import { configureLog } from '../src/observe/log.ts'
import { startServer } from '../src/serve/server.ts'
import { openBrowser } from '../test/browser.ts'

const ROOT = join(import.meta.dirname, '..')
const PICTURES = ['umbrellas-above-eggplants', 'tigers-and-umbrella', 'guitars', 'train-on-white']
const QUESTIONS = ['what do you see on the left?', 'are the tigers to the left of the umbrella?']
const VIEW = { width: 1280, height: 720 }

configureLog('json', { write: () => {} })
const engine = await startEngine({ artifact: await embeddedArtifact(readConfig({}).cacheFolder) })
const server = await startServer(engine, { port: 0 })
const browser = await openBrowser()
for (const colorScheme of ['light', 'dark'] as const) {
  const context = await browser.newContext({
    viewport: VIEW,
    colorScheme,
    locale: 'en',
    reducedMotion: 'reduce',
  })
  const page = await context.newPage()
  await page.goto(server.url)
  await converse(page)
  const path = `docs/page-${colorScheme}.webp`
  const { size } = await sharp(await page.screenshot())
    .webp({ quality: 85 })
    .toFile(join(ROOT, path))
  console.log(`${path}: ${VIEW.width} x ${VIEW.height}, ${size} bytes`)
  await context.close()
}
await browser.close()
await server.close()

async function converse(page: Page): Promise<void> {
  const files = PICTURES.map((name) => join(ROOT, `models/demo/${name}.png`))
  await page.setInputFiles('#file', files)
  const thumbs = page.locator('#thumbs button')
  await thumbs.nth(PICTURES.length - 1).waitFor()
  await page.waitForFunction(() => document.querySelectorAll('#thumbs .busy').length === 0)
  await thumbs.nth(PICTURES.indexOf('tigers-and-umbrella')).click()
  for (const [index, question] of QUESTIONS.entries()) {
    await page.fill('#question', question)
    await page.press('#question', 'Enter')
    await page.locator('.answer:not([aria-busy=true])').nth(index).waitFor()
  }
}

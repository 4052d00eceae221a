// Starts a real browser, for long tests only: Debian's package `chromium`, or the path in CHROMIUM.

import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

/** Opens a headless browser. @throws Error if no browser is installed */
export async function openBrowser(): Promise<Browser> {
  const candidates = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/google-chrome']
  const executablePath = candidates.find((path) => path !== undefined && existsSync(path))
  if (!executablePath) throw new Error('There is no browser: apt-get install chromium, or set CHROMIUM.')
  // No sandbox, because CI runs as root. The only page is Glimpse's own.
  return await chromium.launch({ executablePath, args: ['--no-sandbox'] })
}

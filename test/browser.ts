// A real browser, which only long tests use: Debian's package `chromium`, or the one that CHROMIUM names.

import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

/** @throws Error when there is none */
export async function openBrowser(): Promise<Browser> {
  const candidates = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/google-chrome']
  const executablePath = candidates.find((path) => path !== undefined && existsSync(path))
  if (!executablePath) throw new Error('There is no browser: apt-get install chromium, or set CHROMIUM.')
  // No sandbox: CI runs as root, and the only page is our own.
  return await chromium.launch({ executablePath, args: ['--no-sandbox'] })
}

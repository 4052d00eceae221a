// The files of the page, read from disk for each request: edit one and reload.

import { readFile } from 'node:fs/promises'
import { Hono } from 'hono'

/** Path, file and type. */
export const FILES = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/page.css': ['page.css', 'text/css; charset=utf-8'],
  '/page.js': ['page.js', 'text/javascript; charset=utf-8'],
  '/api.js': ['api.js', 'text/javascript; charset=utf-8'],
  '/docs': ['docs.html', 'text/html; charset=utf-8'],
  '/docs.css': ['docs.css', 'text/css; charset=utf-8'],
  '/docs.js': ['docs.js', 'text/javascript; charset=utf-8'],
  '/icon.svg': ['icon.svg', 'image/svg+xml'],
} as const

export function page(): Hono {
  const app = new Hono()
  for (const [path, [file, type]] of Object.entries(FILES)) {
    app.get(path, async (c) => {
      const body = await readFile(new URL(`./page/${file}`, import.meta.url), 'utf8')
      return c.body(body, 200, { 'content-type': type, 'cache-control': 'no-cache' })
    })
  }
  return app
}

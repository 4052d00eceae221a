// The page's files, read from disk beside this one: edit one and reload.

import { readFile } from 'node:fs/promises'
import { Hono } from 'hono'

const FILES: Record<string, { file: string; type: string }> = {
  '/': { file: 'index.html', type: 'text/html; charset=utf-8' },
  '/page.css': { file: 'page.css', type: 'text/css; charset=utf-8' },
  '/page.js': { file: 'page.js', type: 'text/javascript; charset=utf-8' },
  '/api.js': { file: 'api.js', type: 'text/javascript; charset=utf-8' },
  '/icon.svg': { file: 'icon.svg', type: 'image/svg+xml' },
}

export function page(): Hono {
  const app = new Hono()
  for (const [path, { file, type }] of Object.entries(FILES)) {
    app.get(path, async (c) => {
      const body = await readFile(new URL(`./page/${file}`, import.meta.url), 'utf8')
      return c.body(body, 200, { 'content-type': type, 'cache-control': 'no-cache' })
    })
  }
  return app
}

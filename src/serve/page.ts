// The files of the page, read from disk for each request: edit one and reload. Its sample pictures are some of models/demo.

import { readFile } from 'node:fs/promises'
import { Hono } from 'hono'

const SCRIPT = 'text/javascript; charset=utf-8'
const SCRIPTS = ['theme', 'page', 'thread', 'api', 'history', 'words', 'docs'].map((name) => `${name}.js`)
/** Path -> file, media type. */
export const FILES: Record<string, readonly [string, string]> = {
  '/': ['./page/index.html', 'text/html; charset=utf-8'],
  '/page.css': ['./page/page.css', 'text/css; charset=utf-8'],
  '/docs': ['./page/docs.html', 'text/html; charset=utf-8'],
  '/docs.css': ['./page/docs.css', 'text/css; charset=utf-8'],
  '/icon.svg': ['./page/icon.svg', 'image/svg+xml'],
  ...Object.fromEntries(SCRIPTS.map((name) => [`/${name}`, [`./page/${name}`, SCRIPT]])),
  ...Object.fromEntries(
    [
      'crab-and-helicopter',
      'sunflower-basketball-watermelon',
      'tigers-and-umbrella',
      'guitars',
      'faces-out-of-domain',
    ].map((name) => [`/samples/${name}.png`, [`../../models/demo/${name}.png`, 'image/png']]),
  ),
}

export function page(): Hono {
  const app = new Hono()
  for (const [path, [file, type]] of Object.entries(FILES)) {
    app.get(path, async (c) => {
      const body = await readFile(new URL(file, import.meta.url))
      return c.body(body, 200, { 'content-type': type, 'cache-control': 'no-cache' })
    })
  }
  return app
}

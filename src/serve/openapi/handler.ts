// GET /openapi.json: this API described.

import type { Handler } from 'hono'

/** @param webhooks paths of the chat platforms that are set up */
export function openApi(webhooks: readonly string[]): Handler {
  let body: string | undefined
  return async (c) => {
    // Imported on use, because most servers are never asked for it.
    const { openApiDocument } = await import('./document.ts')
    body ??= JSON.stringify(openApiDocument(webhooks))
    return c.body(body, 200, { 'content-type': 'application/json', 'cache-control': 'no-cache' })
  }
}

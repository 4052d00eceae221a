// Expected JSON -> an asymmetric matcher: objects may have more fields, lists have as many items, and `/words/` is a regular
// expression that a text matches.

import { expect } from 'vitest'

export function matching(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(matching)
  if (typeof value === 'string') {
    const pattern = /^\/(.*)\/$/s.exec(value)?.[1]
    return pattern === undefined ? value : expect.stringMatching(new RegExp(pattern, 's'))
  }
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).map(([name, each]) => [name, matching(each)])
  return expect.objectContaining(Object.fromEntries(fields))
}

// The handlers of serverless.yml; package.long.test.ts has what `npx serverless package` makes of it.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from './packaged.ts'

test('each handler is short: event in, one call, result out', () => {
  const folder = join(ROOT, 'handlers')
  const lines = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8').split('\n').length)
  expect(lines).toHaveLength(4)
  expect(Math.max(...lines)).toBeLessThan(40)
})

// Handlers of serverless.yml. package.long.test.ts tests the output of `npx serverless package`.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from './packaged.ts'

test('there are five handlers, each shorter than 40 lines', () => {
  const folder = join(ROOT, 'handlers')
  const lines = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8').split('\n').length)
  expect(lines).toHaveLength(5)
  expect(Math.max(...lines)).toBeLessThan(40)
})

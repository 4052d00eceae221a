// serverless.yml as `npx serverless package` makes it by default; package.long.test.ts has the other places of the model.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describePackage } from './package.ts'
import { ROOT } from './packaged.ts'

describePackage('embedded')

test('each handler is short: event in, one call, result out', () => {
  const folder = join(ROOT, 'handlers')
  const lines = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8').split('\n').length)
  expect(lines).toHaveLength(4)
  expect(Math.max(...lines)).toBeLessThan(40)
})

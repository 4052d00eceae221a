// Sizes as text.

import { expect, test } from 'vitest'
import { megabytes } from '../src/units.ts'

test.each([
  [0, '0.0 MB'],
  [300_000, '0.3 MB'],
  [9_940_000, '9.9 MB'],
  [22_041_600, '22 MB'],
  [2_312_000_000, '2312 MB'],
])('%i bytes are %s', (bytes, text) => {
  expect(megabytes(bytes)).toBe(text)
})

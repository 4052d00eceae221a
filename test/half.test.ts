// binary16: every bit pattern keeps its value, and numbers round to the nearest.

import { expect, test } from 'vitest'
import { fromHalf, toHalf } from '../src/half.ts'

const one = (number: number) => toHalf(Float32Array.of(number))[0]!

test('every finite bit pattern survives the way to float32 and back', () => {
  const all = Uint16Array.from({ length: 65_536 }, (_, i) => i).filter((half) => (half & 0x7c00) !== 0x7c00)
  expect(toHalf(fromHalf(all))).toEqual(all)
})

test('numbers of IEEE 754-2008, table 3.5', () => {
  expect([1, -2, 65_504, 2 ** -14, 2 ** -24, 0].map(one)).toEqual([0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0])
})

test('a number between two halves becomes the nearer one, and the even one in the middle', () => {
  const step = 2 ** -10
  expect([1 + 0.4 * step, 1 + 0.6 * step].map(one)).toEqual([0x3c00, 0x3c01])
  expect([1 + 0.5 * step, 1 + 1.5 * step].map(one)).toEqual([0x3c00, 0x3c02])
  expect([2 ** -25, 1.5 * 2 ** -24, 0.9 * 2 ** -24].map(one)).toEqual([0, 2, 1])
})

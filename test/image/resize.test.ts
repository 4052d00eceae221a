import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { BICUBIC, resize, tapsOf } from '../../src/image/resize.ts'
import { expected } from './expected.ts'
import { noise } from './noise.ts'

test(`equals Pillow ${expected.pillow} bit for bit in ${expected.resized.length} sizes and filters`, () => {
  for (const one of expected.resized) {
    const out = resize(noise(one.width, one.height, one.seed), one.to_width, one.to_height, one.resample)
    expect([out.width, out.height]).toEqual([one.to_width, one.to_height])
    expect(createHash('sha256').update(out.data).digest('hex'), JSON.stringify(one)).toBe(one.sha256)
  }
})

test('weighs two pixels made four as worked out by hand', () => {
  // scale 1/2, no stretch. Output 0: centre 0.25, pixels 0 and 1 at distances 0.25 and 1.25.
  // w(0.25) = (1.5 * 0.25 - 2.5) * 0.25 * 0.25 + 1 = 0.8671875
  // w(1.25) = (((1.25 - 5) * 1.25 + 8) * 1.25 - 4) * -0.5 = -0.0703125
  // Divided by their sum 0.796875: 1.088235... and -0.088235...; times 2 ** 22, rounded.
  const taps = tapsOf(2, 4)
  expect(taps.stride).toBe(5)
  expect([...taps.first]).toEqual([0, 0, 0, 0])
  expect([...taps.count]).toEqual([2, 2, 2, 2])
  expect([...taps.weights.slice(0, 5)]).toEqual([4564390, -370086, 0, 0, 0])
})

test('stretches the filter by the ratio when it shrinks', () => {
  // 8 to 2: scale 4, reach 2 * 4 = 8, so both outputs use all eight pixels; the second mirrors the first.
  const { count, first, weights, stride } = tapsOf(8, 2)
  expect([...first]).toEqual([0, 0])
  expect([...count]).toEqual([8, 8])
  expect([...weights.slice(stride, stride + 8)]).toEqual([...weights.slice(0, 8)].reverse())
})

test('weights of every pixel add up to one, but for rounding', () => {
  for (const [from, to] of [
    [4000, 224],
    [3, 224],
    [224, 223],
  ] as const) {
    const { weights, count, stride } = tapsOf(from, to)
    for (let out = 0; out < to; out++) {
      const sum = weights
        .slice(out * stride, out * stride + count[out]!)
        .reduce((total, weight) => total + weight, 0)
      expect(Math.abs(sum - 2 ** 22)).toBeLessThanOrEqual(stride / 2)
    }
  }
})

test('keeps one colour one colour, also at both ends of the scale', () => {
  for (const value of [0, 1, 127, 254, 255]) {
    const flat = { width: 37, height: 23, data: new Uint8Array(37 * 23 * 3).fill(value) }
    expect(new Set(resize(flat, 16, 51, BICUBIC).data)).toEqual(new Set([value]))
  }
})

test('returns a copy for the same size, so that neither changes the other', () => {
  const source = noise(6, 5, 1)
  const out = resize(source, 6, 5, BICUBIC)
  expect(out).toEqual(source)
  expect(out.data.buffer).not.toBe(source.data.buffer)
})

test('refuses data that is not width x height x 3, and sizes below one', () => {
  expect(() => resize({ width: 2, height: 2, data: new Uint8Array(11) }, 4, 4, BICUBIC)).toThrow(
    'Expected 2 x 2 x 3',
  )
  expect(() => resize(noise(2, 2, 1), 0, 4, BICUBIC)).toThrow(RangeError)
})

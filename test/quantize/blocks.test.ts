// Weights in blocks: layout and arithmetic by hand, and how far a value may move.

import { describe, expect, test } from 'vitest'
import { packBlock, toBlocks } from '../../src/quantize/blocks.ts'
import type { Matrix } from '../../src/quantize/matrix.ts'
import { randomFrom } from '../../src/run/draw.ts'
import { bytesOf, floatsOf } from '../stored.ts'

function pack(bits: 4 | 8, values: number[], block = values.length) {
  const bytes = new Uint8Array((block * bits) / 8)
  const scale = packBlock(Float32Array.from(values), bits, bytes)
  return { scale, bytes: [...bytes] }
}

/** As MatMulNBits reads them: (level - zero point) * scale. */
function unpack(bits: 4 | 8, bytes: ArrayLike<number>, scale: number, count: number): number[] {
  const level = (i: number) => (bits === 8 ? bytes[i]! : (bytes[i >> 1]! >> (4 * (i % 2))) & 15)
  return Array.from({ length: count }, (_, i) => (level(i) - 2 ** (bits - 1)) * scale)
}

describe('one block, by hand', () => {
  test('4 bits: two values to a byte, the first in the low half, zero at 8', () => {
    expect(pack(4, [1, -2, 0.5, 0.25])).toEqual({ scale: 0.25, bytes: [12 | (0 << 4), 10 | (9 << 4)] })
  })

  test('4 bits: where the largest value is positive the scale is negative', () => {
    expect(pack(4, [-1, 2, -0.5, 0])).toEqual({ scale: -0.25, bytes: [12 | (0 << 4), 10 | (8 << 4)] })
  })

  test('8 bits: one value to a byte, zero at 128', () => {
    expect(pack(8, [64, -128, 1, 0])).toEqual({ scale: 1, bytes: [192, 0, 129, 128] })
  })

  test('the opposite of the largest value is cut to the last level', () => {
    expect(unpack(4, pack(4, [-8, 8]).bytes, 1, 2)).toEqual([-8, 7])
    expect(unpack(8, pack(8, [-128, 128]).bytes, 1, 2)).toEqual([-128, 127])
  })

  test.each([
    [4, [0x88, 0x88]],
    [8, [128, 128, 128, 128]],
  ] as const)('%i bits: a block of zeros has scale 0 and zeros', (bits, bytes) => {
    const packed = pack(bits, [0, 0, 0, 0])
    expect(Math.abs(packed.scale)).toBe(0)
    expect(packed.bytes).toEqual(bytes)
  })

  test.each([
    [4, 3, [12 | (0 << 4), 10 | (8 << 4), 0x88, 0x88]],
    [4, 1, [0x80, 0x88, 0x88, 0x88]],
  ] as const)('%i bits: %i values in a block of 8 are followed by zeros', (bits, count, bytes) => {
    expect(pack(bits, [1, -2, 0.5].slice(0, count), 8).bytes).toEqual(bytes)
  })
})

describe.each([4, 8] as const)('%i bits', (bits) => {
  test.each([0, -40, 35])(
    'the largest value of a block is exact at scale 2^%i, all others are near',
    (power) => {
      const random = randomFrom(bits)
      for (let round = 0; round < 50; round++) {
        const values = Array.from({ length: 32 }, () => (2 * random() - 1) * 2 ** power)
        const { scale, bytes } = pack(bits, values)
        const read = unpack(bits, bytes, scale, values.length)
        const step = Math.abs(scale)
        const extreme = values.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a))
        const moved = values.map((value, i) => Math.abs(read[i]! - value))
        // The scale is a power of two from the value: no rounding but that to float32.
        expect(read[values.indexOf(extreme)]).toBe(Math.fround(extreme))
        // Half a step, except within half a step of the cut level.
        values.forEach((value, i) => {
          const cut = Math.sign(value) !== Math.sign(extreme) && Math.abs(value) > Math.abs(extreme) - step
          expect(moved[i]).toBeLessThanOrEqual((cut ? 1 : 0.5) * step * (1 + 1e-6))
        })
      }
    },
  )

  test('a matrix with an odd number of inputs, in pieces of any number of rows, is its blocks one by one', async () => {
    const [outputs, inputs, block] = [5, 19, 16]
    const random = randomFrom(3)
    const values = Float32Array.from({ length: outputs * inputs }, () => random() - 0.5)
    const inPieces = (...sizes: number[]): Matrix => ({
      dims: [outputs, inputs],
      async *rows() {
        let at = 0
        for (const rows of sizes) {
          yield values.subarray(at, at + rows * inputs)
          at += rows * inputs
        }
      },
    })
    const whole = toBlocks(inPieces(5), { bits, block })
    expect(whole.packed.dims).toEqual([5, 2, (block * bits) / 8])
    expect(whole.scales.dims).toEqual([5, 2])
    const packed = await bytesOf(whole.packed)
    const scales = await floatsOf(whole.scales)
    const blockBytes = (block * bits) / 8
    for (let row = 0; row < outputs; row++) {
      for (const b of [0, 1]) {
        const own = values.subarray(
          row * inputs + b * block,
          Math.min((row + 1) * inputs, row * inputs + (b + 1) * block),
        )
        const expected = pack(bits, [...own], block)
        const at = (row * 2 + b) * blockBytes
        expect([...packed.subarray(at, at + blockBytes)]).toEqual(expected.bytes)
        expect(scales[row * 2 + b]).toBe(expected.scale)
      }
    }
    const pieces = toBlocks(inPieces(1, 3, 1), { bits, block })
    expect(await bytesOf(pieces.packed)).toEqual(packed)
    expect(await floatsOf(pieces.scales)).toEqual(scales)
  })
})

test('scales asked for before their weights are an error, not zeros', async () => {
  const weight: Matrix = { dims: [1, 32], async *rows() {} }
  await expect(bytesOf(toBlocks(weight, { bits: 4, block: 32 }).scales)).rejects.toThrow(
    'after their weights',
  )
})

test('nothing of a weight is allocated before it is written', () => {
  const weight: Matrix = { dims: [2 ** 40, 2 ** 40], async *rows() {} }
  expect(toBlocks(weight, { bits: 4, block: 32 }).packed.dims).toEqual([2 ** 40, 2 ** 35, 16])
})

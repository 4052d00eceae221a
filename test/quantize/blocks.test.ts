// Weights in blocks: layout and arithmetic by hand, and bounds of the error.

import { describe, expect, test } from 'vitest'
import { largestBlockThatDivides, toBlocks } from '../../src/quantize/blocks.ts'
import type { Matrix } from '../../src/quantize/matrix.ts'
import { createRng } from '../../src/run/sampling.ts'
import { bytesOf, floatsOf, matrixOf } from '../tensors.ts'

interface Packed {
  packed: number[]
  scales: number[]
  zeros: number[]
}

async function pack(bits: 4 | 8, weight: Matrix, block = 16): Promise<Packed> {
  const blocks = toBlocks(weight, { bits, block })
  return {
    packed: [...(await bytesOf(blocks.packed))],
    scales: [...(await floatsOf(blocks.scales))],
    zeros: blocks.zeros ? [...(await bytesOf(blocks.zeros))] : [],
  }
}

/** As MatMulNBits reads them: (level - zero point) * scale, of one row. */
function unpack(bits: 4 | 8, { packed, scales, zeros }: Packed, inputs: number, block = 16): number[] {
  const nibble = (bytes: number[], i: number) => (bytes[i >> 1]! >> (4 * (i % 2))) & 15
  return Array.from({ length: inputs }, (_, i) => {
    const b = Math.floor(i / block)
    const level = bits === 8 ? packed[i]! : nibble(packed, i)
    return (level - (bits === 8 ? 128 : nibble(zeros, b))) * scales[b]!
  })
}

/** Plain rounding to 16 levels between the smallest and the largest value, zero among them: what fitting must beat. */
function rounded(values: readonly number[]): number[] {
  const low = Math.min(0, ...values)
  const scale = (Math.max(0, ...values) - low) / 15
  const zero = Math.round(-low / scale)
  return values.map((value) => (Math.min(15, Math.max(0, Math.round(value / scale) + zero)) - zero) * scale)
}

function distance(a: readonly number[], b: readonly number[]): number {
  return Math.hypot(...a.map((value, i) => value - b[i]!))
}

describe('one block, by hand', () => {
  test('4 bits: two values to a byte, the first in the low half; the zero point in half a byte', async () => {
    const values = Array.from({ length: 16 }, (_, i) => (i - 5) * 0.5)
    expect(await pack(4, matrixOf([values]))).toEqual({
      packed: [0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe],
      scales: [0.5],
      zeros: [0x85],
    })
  })

  test('8 bits: one value to a byte, zero at 128', async () => {
    const values = [64, -128, 1, ...new Array<number>(13).fill(0)]
    expect(await pack(8, matrixOf([values]))).toEqual({
      packed: [192, 0, 129, ...new Array<number>(13).fill(128)],
      scales: [1],
      zeros: [],
    })
  })

  test('8 bits: where the largest value is positive the scale is negative', async () => {
    const values = [-64, 128, 1, ...new Array<number>(13).fill(0)]
    expect(await pack(8, matrixOf([values]))).toEqual({
      packed: [192, 0, 127, ...new Array<number>(13).fill(128)],
      scales: [-1],
      zeros: [],
    })
  })

  test('8 bits: the opposite of the largest value is cut to the last level', async () => {
    const row = [-128, 128, ...new Array<number>(14).fill(0)]
    expect(unpack(8, await pack(8, matrixOf([row])), 2)).toEqual([-128, 127])
  })

  test.each([
    [4, 0x88],
    [8, 128],
  ] as const)('%i bits: a block of zeros has scale 0 and zeros', async (bits, byte) => {
    const { packed, scales } = await pack(bits, matrixOf([new Array<number>(16).fill(0)]))
    expect(scales.map(Math.abs)).toEqual([0])
    expect(packed).toEqual(new Array<number>(bits * 2).fill(byte))
  })

  test.each([4, 8] as const)('%i bits: a block that ends early is followed by zeros', async (bits) => {
    const packed = await pack(bits, matrixOf([[1, -2, 0.5]]))
    expect(unpack(bits, packed, 16).slice(3)).toEqual(new Array<number>(13).fill(0))
  })

  test.each([
    ['all above zero', 5],
    ['all below zero', -5],
  ])('4 bits: values %s keep their sign and size', async (_, middle) => {
    const random = createRng(1)
    const values = Array.from({ length: 32 }, () => middle + random())
    const read = unpack(4, await pack(4, matrixOf([values]), 32), 32, 32)
    read.forEach((value, i) => {
      expect(Math.abs(value - values[i]!)).toBeLessThan(0.4)
    })
  })
})

describe('values of any size', () => {
  test.each([0, -40, 35])('8 bits: the largest is exact at scale 2^%i, the others near', async (power) => {
    const random = createRng(8)
    for (let round = 0; round < 20; round++) {
      const values = Array.from({ length: 32 }, () => Math.fround((2 * random() - 1) * 2 ** power))
      const packed = await pack(8, matrixOf([values]), 32)
      const read = unpack(8, packed, 32, 32)
      const step = Math.abs(packed.scales[0]!)
      const extreme = values.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a))
      expect(read[values.indexOf(extreme)]).toBe(extreme)
      // Half a step, except within half a step of the cut level.
      values.forEach((value, i) => {
        const cut = Math.sign(value) !== Math.sign(extreme) && Math.abs(value) > Math.abs(extreme) - step
        expect(Math.abs(read[i]! - value)).toBeLessThanOrEqual((cut ? 1 : 0.5) * step * (1 + 1e-6))
      })
    }
  })

  test.each([0, -40, 35])('4 bits: the fit at scale 2^%i beats plain rounding', async (power) => {
    const random = createRng(4)
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
    let [fitted, plain] = [0, 0]
    for (let round = 0; round < 200; round++) {
      const values = Array.from({ length: 32 }, () => Math.fround(normal() * 2 ** power))
      fitted += distance(unpack(4, await pack(4, matrixOf([values]), 32), 32, 32), values)
      plain += distance(rounded(values), values)
    }
    expect(fitted / plain).toBeLessThan(0.98)
    expect(fitted / plain).toBeGreaterThan(0.9)
  })
})

test.each([4, 8] as const)(
  '%i bits: a matrix with an odd number of inputs and blocks, in pieces of any number of rows, is its blocks one by one',
  async (bits) => {
    const [outputs, inputs, block] = [5, 35, 16]
    const random = createRng(3)
    const rows = Array.from({ length: outputs }, () => Array.from({ length: inputs }, () => random() - 0.5))
    const weight = toBlocks(matrixOf(rows), { bits, block })
    expect(weight.packed.dims).toEqual([5, 3, (block * bits) / 8])
    expect(weight.scales.dims).toEqual([5, 3])
    expect(weight.zeros?.dims).toEqual(bits === 4 ? [5, 2] : undefined)

    const whole = await pack(bits, matrixOf(rows))
    const bytesEach = (block * bits) / 8
    for (const [r, row] of rows.entries()) {
      const own: Packed = {
        packed: whole.packed.slice(r * 3 * bytesEach, (r + 1) * 3 * bytesEach),
        scales: whole.scales.slice(r * 3, (r + 1) * 3),
        zeros: whole.zeros.slice(r * 2, (r + 1) * 2),
      }
      const read = unpack(bits, own, inputs)
      for (let at = 0; at < inputs; at += block) {
        const alone = await pack(bits, matrixOf([row.slice(at, at + block)]))
        const count = Math.min(block, inputs - at)
        expect(read.slice(at, at + count)).toEqual(unpack(bits, alone, count))
      }
    }
    expect(await pack(bits, matrixOf(rows, [1, 3, 1]))).toEqual(whole)
  },
)

test('scales written before their weights are an error', async () => {
  const weight: Matrix = { dims: [1, 32], sources: [], async *rows() {} }
  await expect(bytesOf(toBlocks(weight, { bits: 4, block: 32 }).scales)).rejects.toThrow(
    'after their weights',
  )
})

test('allocates nothing for a weight before it is written', () => {
  const weight: Matrix = { dims: [2 ** 40, 2 ** 40], sources: [], async *rows() {} }
  expect(toBlocks(weight, { bits: 4, block: 32 }).packed.dims).toEqual([2 ** 40, 2 ** 35, 16])
})

test.each([
  [2560, 128],
  [192, 64],
  [32, 32],
  [48, 16],
  [20, 16], // no block divides it: the last one is partly empty
])('a width of %i is cut into blocks of %i', (inputs, block) => {
  expect(largestBlockThatDivides(inputs, { kind: 'blocks', bits: 4, block: 128 })).toEqual({
    kind: 'blocks',
    bits: 4,
    block,
  })
})

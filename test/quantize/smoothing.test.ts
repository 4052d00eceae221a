// Channels that are given even sizes: the factors, and that products do not change.

import { expect, test } from 'vitest'
import type { Matrix } from '../../src/quantize/matrix.ts'
import { smooth } from '../../src/quantize/smoothing.ts'
import { createRng } from '../../src/run/sampling.ts'
import { matrixOf } from '../tensors.ts'

const HALF = { strength: 0.5, large: 0, divides: true }

async function valuesOf({ rows }: Matrix): Promise<number[]> {
  const all: number[] = []
  for await (const { bytes } of rows()) all.push(...new Float32Array(bytes.slice().buffer))
  return all
}

const vectorOf = (values: number[]): Matrix => ({
  ...matrixOf(values.map((value) => [value])),
  dims: [values.length],
})

test('a channel is divided by the root of its size over its largest weight, by hand', async () => {
  // Sizes: sqrt(3^2 + 4^2) = 5 and sqrt(0.8^2 + 0.6^2) = 1. Largest weights: 5 and 0.25. Roots: 1 and 2; the mean is sqrt(2).
  const [gain, shift] = [vectorOf([3, 0.8]), vectorOf([4, 0.6])]
  const reader = matrixOf([
    [-5, 0.125],
    [2, -0.25],
  ])
  const { divideRows, multiplyInputs } = smooth([gain, shift], [reader], HALF)
  const factors = [1 / Math.SQRT2, Math.SQRT2]
  const near = (values: number[]) => values.map((value) => expect.closeTo(value, 5))
  expect(await valuesOf(divideRows(gain))).toEqual(near([3 / factors[0]!, 0.8 / factors[1]!]))
  expect(await valuesOf(divideRows(shift))).toEqual(near([4 / factors[0]!, 0.6 / factors[1]!]))
  expect(await valuesOf(multiplyInputs(reader))).toEqual(
    near([-5 * factors[0]!, 0.125 * factors[1]!, 2 * factors[0]!, -0.25 * factors[1]!]),
  )
})

test('two products in a row give the same result, in pieces of any number of rows', async () => {
  const random = createRng(3)
  const rows = (count: number, width: number) =>
    Array.from({ length: count }, (_, row) =>
      Array.from({ length: width }, () => (random() - 0.5) * (row === 2 ? 40 : 1)),
    )
  const [first, second, other] = [rows(7, 5), rows(6, 7), rows(3, 7)]
  const x = rows(1, 5)[0]!
  const times = (matrix: number[], vector: number[]) =>
    Array.from({ length: matrix.length / vector.length }, (_, row) =>
      vector.reduce((sum, value, i) => sum + value * matrix[row * vector.length + i]!, 0),
    )
  const exact = [second, other].map((reader) => times(reader.flat(), times(first.flat(), x)))
  const producer = matrixOf(first, [3, 1, 3])
  const readers = [matrixOf(second, [4, 2]), matrixOf(other)]
  const { divideRows, multiplyInputs } = smooth([producer], readers, HALF)
  const middle = times(await valuesOf(divideRows(producer)), x)
  for (const [i, reader] of readers.entries()) {
    const found = times(await valuesOf(multiplyInputs(reader)), middle)
    expect(found).toEqual(exact[i]!.map((value) => expect.closeTo(value, 4)))
  }
  const plain = times(first.flat(), x)
  expect(Math.abs(middle[2]! / middle[1]!)).toBeLessThan(Math.abs(plain[2]! / plain[1]!) / 2)
})

test('a channel that is always zero, or that nothing reads, stays as it is', async () => {
  const producer = vectorOf([0, 2, 2])
  const reader = matrixOf([[3, 0, 2]])
  const { divideRows, multiplyInputs } = smooth([producer], [reader], HALF)
  expect(await valuesOf(divideRows(producer))).toEqual([0, 2, 2])
  expect(await valuesOf(multiplyInputs(reader))).toEqual([3, 0, 2])
})

test('what is made from a smoothed matrix waits for all tensors of its group', () => {
  const [producer, reader] = [
    { ...vectorOf([1]), sources: ['norm.weight'] },
    { ...matrixOf([[1]]), sources: ['fc1.weight'] },
  ]
  const { divideRows, multiplyInputs } = smooth([producer], [reader], HALF)
  expect(divideRows(producer).sources).toEqual(['norm.weight', 'fc1.weight'])
  expect([...multiplyInputs(reader).sources].sort()).toEqual(['fc1.weight', 'norm.weight'])
})

test('the largest channels get a product of their own, in which they have the size of the others', async () => {
  // Sizes 1, 40, 2 and 1 with equal weights: the second channel is large; the others keep their sizes at a strength of 0.
  const gain = vectorOf([1, -40, 2, 1])
  const reader = matrixOf([
    [1, 2, 3, 4],
    [5, 6, 7, 8],
  ])
  const { divideRows, multiplyInputs, pickLarge, channels, mask } = smooth([gain], [reader], {
    strength: 0,
    large: 1,
    divides: true,
  })
  expect(await valuesOf(divideRows(gain))).toEqual([1, -1, 2, 1])
  expect(await valuesOf(multiplyInputs(reader))).toEqual([1, 0, 3, 4, 5, 0, 7, 8])
  const picked = pickLarge(reader)
  expect(picked.dims).toEqual([2, 1])
  expect(await valuesOf(picked)).toEqual([80, 240])
  expect(await valuesOf(mask)).toEqual([1, 0, 1, 1])
  for await (const bytes of channels.bytes())
    expect(new BigInt64Array(bytes.slice().buffer)).toEqual(BigInt64Array.of(1n))
})

test('channels that cannot be divided keep their sizes; gates count in them', async () => {
  const [up, gate] = [matrixOf([[3], [2], [2]]), matrixOf([[1], [9], [1]])]
  const reader = matrixOf([[1, 2, 3]])
  const separated = smooth([up], [reader], { strength: 0.5, large: 1, divides: false })
  expect(await valuesOf(separated.divideRows(up))).toEqual([3, 2, 2])
  expect(await valuesOf(separated.multiplyInputs(reader))).toEqual([0, 2, 3])
  expect(await valuesOf(separated.pickLarge(reader))).toEqual([1])
  const gated = smooth([up], [reader], { strength: 0.5, large: 1, gates: [gate], divides: false })
  expect(await valuesOf(gated.multiplyInputs(reader))).toEqual([1, 0, 3])
})

// Weights as signed bytes with one scale per output, turned over.

import { expect, test } from 'vitest'
import { toColumns } from '../../src/quantize/columns.ts'
import type { Matrix } from '../../src/quantize/matrix.ts'
import { randomFrom } from '../../src/run/draw.ts'
import { bytesOf, floatsOf } from '../stored.ts'

function matrix(rows: number[][]): Matrix {
  return {
    dims: [rows.length, rows[0]!.length],
    async *rows() {
      for (const row of rows) yield Float32Array.from(row)
    },
  }
}

test('[out, in] becomes [in, out], by hand', async () => {
  const { values, scales } = toColumns(
    matrix([
      [127, -254, 1],
      [0, 0, 0],
    ]),
  )
  expect(values.dims).toEqual([3, 2])
  expect(scales.dims).toEqual([2])
  // Row 0 has scale 2: 63.5 -> 64 (halves go up), -127, 0.5 -> 1.
  expect([...new Int8Array((await bytesOf(values)).buffer)]).toEqual([64, 0, -127, 0, 1, 0])
  expect([...(await floatsOf(scales))]).toEqual([2, 0])
})

test('each value moves by half a step of its output at most, the largest by rounding only', async () => {
  const random = randomFrom(1)
  const [outputs, inputs] = [7, 33]
  const rows = Array.from({ length: outputs }, (_, o) =>
    Array.from({ length: inputs }, () => Math.fround((random() - 0.5) * 10 ** (o - 3))),
  )
  const { values, scales } = toColumns(matrix(rows))
  const turned = new Int8Array((await bytesOf(values)).buffer)
  const steps = await floatsOf(scales)
  rows.forEach((row, o) => {
    const step = steps[o]!
    const largest = Math.max(...row.map(Math.abs))
    row.forEach((value, i) => {
      const moved = Math.abs(turned[i * outputs + o]! * step - value)
      expect(moved).toBeLessThanOrEqual(
        Math.abs(value) === largest ? largest * 1e-6 : (step / 2) * (1 + 1e-5),
      )
    })
  })
})

test('scales asked for before their weights are an error, not zeros', async () => {
  await expect(bytesOf(toColumns(matrix([[1]])).scales)).rejects.toThrow('after their weights')
})

// Weights as signed bytes with one scale per output, transposed.

import { expect, test } from 'vitest'
import { toPerChannel } from '../../src/quantize/per-channel.ts'
import { createRng } from '../../src/run/sampling.ts'
import { bytesOf, floatsOf, matrixOf } from '../tensors.ts'

test('[out, in] becomes [in, out], by hand', async () => {
  const { values, scales } = toPerChannel(
    matrixOf([
      [127, -254, 1],
      [0, 0, 0],
    ]),
  )
  expect(values.dims).toEqual([3, 2])
  expect(scales.dims).toEqual([2])
  // Row 0 has scale 2: 63.5 -> 64 (halves go to the even), -127, 0.5 -> 0.
  expect([...new Int8Array((await bytesOf(values)).buffer)]).toEqual([64, 0, -127, 0, 0, 0])
  expect([...(await floatsOf(scales))]).toEqual([2, 0])
})

test('a value has an error of at most half a step of its output, the largest only that of rounding', async () => {
  const random = createRng(1)
  const [outputs, inputs] = [37, 35]
  const rows = Array.from({ length: outputs }, (_, o) =>
    Array.from({ length: inputs }, () => Math.fround((random() - 0.5) * 10 ** ((o % 7) - 3))),
  )
  const { values, scales } = toPerChannel(matrixOf(rows))
  const transposed = new Int8Array((await bytesOf(values)).buffer)
  const steps = await floatsOf(scales)
  rows.forEach((row, o) => {
    const step = steps[o]!
    const largest = Math.max(...row.map(Math.abs))
    row.forEach((value, i) => {
      const moved = Math.abs(transposed[i * outputs + o]! * step - value)
      expect(moved).toBeLessThanOrEqual(
        Math.abs(value) === largest ? largest * 1e-6 : (step / 2) * (1 + 1e-5),
      )
    })
  })
})

test('scales written before their weights are an error', async () => {
  await expect(bytesOf(toPerChannel(matrixOf([[1]])).scales)).rejects.toThrow('after their weights')
})

test('the number of rows in a piece does not change the result', async () => {
  const random = createRng(2)
  const rows = Array.from({ length: 40 }, () => Array.from({ length: 21 }, () => random() - 0.5))
  const [whole, pieces] = [toPerChannel(matrixOf(rows)), toPerChannel(matrixOf(rows, [17, 1, 22]))]
  expect(await bytesOf(pieces.values)).toEqual(await bytesOf(whole.values))
  expect(await bytesOf(pieces.scales)).toEqual(await bytesOf(whole.scales))
})

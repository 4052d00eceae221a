// Rows of tensors joined and split, 16-bit floats, and elements that stay on a device until somebody reads them.

import { expect, test } from 'vitest'
import { concatRows, type DeviceElements, type Elements, splitRows, Tensor } from '../../src/run/tensor.ts'

/** Elements on a device that counts its downloads. */
function onDevice(elements: Elements) {
  let downloads = 0
  const device: DeviceElements = {
    handle: { device: 'fake' },
    async download() {
      downloads++
      return elements
    },
  }
  return { device, downloads: () => downloads }
}

test.each<[string, Tensor, number, number]>([
  ['float32', Tensor.float32(new Float32Array(6), [2, 3]), 6, 24],
  ['int64', Tensor.int64([1, 2], [1, 2]), 2, 16],
  ['float16', new Tensor('float16', new Uint16Array(4), [4]), 4, 8],
  ['int32', new Tensor('int32', new Int32Array(2), [2, 1]), 2, 8],
  ['a number of shape []', Tensor.int64([7], []), 1, 8],
  ['no rows', Tensor.float32(new Float32Array(0), [0, 5]), 0, 0],
])('size and bytes of %s', (_, tensor, size, bytes) => {
  expect([tensor.size, tensor.byteLength]).toEqual([size, bytes])
})

test('rows of several tensors are joined in their order, and split again', async () => {
  const whole = await concatRows([
    Tensor.float32(Float32Array.of(1, 2, 3, 4), [2, 1, 2]),
    Tensor.float32(Float32Array.of(5, 6), [1, 1, 2]),
  ])
  expect([whole.type, whole.dims, [...(await whole.floats())]]).toEqual([
    'float32',
    [3, 1, 2],
    [1, 2, 3, 4, 5, 6],
  ])
  const rows = await splitRows(whole)
  expect(rows.map(({ dims }) => dims)).toEqual([
    [1, 1, 2],
    [1, 1, 2],
    [1, 1, 2],
  ])
  expect(await Promise.all(rows.map(async (row) => [...(await row.floats())]))).toEqual([
    [1, 2],
    [3, 4],
    [5, 6],
  ])
})

test.each<[string, Tensor, number[] | bigint[]]>([
  ['int64', Tensor.int64([1, 2], [2, 1]), [1n, 2n, 1n, 2n]],
  ['int32', new Tensor('int32', Int32Array.of(3, -4), [2, 1]), [3, -4, 3, -4]],
  ['float16', new Tensor('float16', Uint16Array.of(0x3c00, 0), [2, 1]), [0x3c00, 0, 0x3c00, 0]],
])('rows of %s keep their type', async (type, tensor, expected) => {
  const whole = await concatRows([tensor, tensor])
  expect([whole.type, whole.dims, [...(await whole.elements())]]).toEqual([type, [4, 1], expected])
  const rows = await splitRows(whole)
  expect(rows.map((row) => [row.type, row.size])).toEqual(new Array(4).fill([type, 1]))
})

test('a row has its own memory, so that it can be kept without the others', async () => {
  const [first] = await splitRows(Tensor.float32(new Float32Array(4), [2, 2]))
  expect((await first!.elements()).buffer.byteLength).toBe(8)
})

test('one tensor alone, or one row, is neither copied nor read', async () => {
  const { device, downloads } = onDevice(new Float32Array(3))
  const tensor = new Tensor('float32', device, [1, 3])
  expect(await concatRows([tensor])).toBe(tensor)
  expect(await splitRows(tensor)).toEqual([tensor])
  expect(downloads()).toBe(0)
})

test('elements on a device are handed on by their handle, and copied only to be read', async () => {
  const { device, downloads } = onDevice(Float32Array.of(1, 2))
  const tensor = new Tensor('float32', device, [2, 1])
  expect(tensor.content).toBe(device)
  expect([tensor.size, tensor.byteLength, downloads()]).toEqual([2, 8, 0])
  expect([...(await tensor.floats())]).toEqual([1, 2])
  const both = await concatRows([tensor, Tensor.float32(Float32Array.of(3), [1, 1])])
  expect([...(await both.floats())]).toEqual([1, 2, 3])
  expect((await splitRows(tensor)).map(({ dims }) => dims)).toEqual([
    [1, 1],
    [1, 1],
  ])
  expect(downloads()).toBe(3)
})

/** IEEE 754 binary16: bits and value. */
test.each([
  [0x0000, 0],
  [0x8000, -0],
  [0x3c00, 1],
  [0xc000, -2],
  [0x3555, 0.333251953125],
  [0x7bff, 65504],
  [0x0400, 2 ** -14],
  [0x0001, 2 ** -24],
  [0x83ff, -(1023 * 2 ** -24)],
  [0x7c00, Infinity],
  [0xfc00, -Infinity],
  [0x7e00, Number.NaN],
])('the 16-bit float %i is %f', async (bits, value) => {
  const tensor = new Tensor('float16', Uint16Array.of(bits), [1])
  expect((await tensor.floats())[0]).toBe(value)
})

test('float32 in memory is read without a copy', async () => {
  const data = Float32Array.of(1)
  expect(await Tensor.float32(data, [1]).floats()).toBe(data)
})

test('integers are no floats', async () => {
  await expect(Tensor.int64([1], [1]).floats()).rejects.toThrow('Expected a tensor of floats but got int64')
})

// Files of vectors: what numpy and safetensors read, and a run that continues where one was killed.

import { appendFile, mkdtemp, readFile, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FORMATS, type Format, openVectorFile, type Row } from '../../src/cli/vector-file.ts'

let room: string
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
})
afterAll(() => rm(room, { recursive: true }))

const inputs = ['a', 'b', 'c', 'd']
const rowOf = (i: number): Row | { error: string } =>
  i === 0 || i === 2
    ? { error: 'not_a_picture' }
    : { shape: [2, 3], data: Float32Array.from({ length: 6 }, (_, n) => 10 * i + n) }
const planOf = (format: Format, kind = 'image_embeds') => ({ format, kind, model: 'm', inputs })

/** Writes rows until the process is stopped before row `end`. */
async function run(path: string, format: Format, end = inputs.length, kind?: string): Promise<number> {
  const file = await openVectorFile(path, planOf(format, kind))
  const { done } = file
  for (let i = done; i < end; i++) await file.add(rowOf(i))
  if (end === inputs.length) await file.finish()
  await file.close()
  return done
}

const whole = async (format: Format) => {
  const path = join(room, `whole-${format}.${format}`)
  await run(path, format)
  return await readFile(path)
}

test('npy: header and rows as numpy has them, NaN for what failed', async () => {
  const bytes = await whole('npy')
  expect(bytes.subarray(0, 8).toString('latin1')).toBe('\x93NUMPY\x01\x00')
  const begin = 10 + bytes.readUInt16LE(8)
  expect(begin % 64).toBe(0)
  expect(bytes.subarray(10, begin).toString().trimEnd()).toBe(
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2, 3), }",
  )
  const values = new Float32Array(new Uint8Array(bytes.subarray(begin)).buffer)
  expect([...values.subarray(6, 12)]).toEqual([10, 11, 12, 13, 14, 15])
  expect(values.subarray(0, 6).every(Number.isNaN) && values.subarray(12, 18).every(Number.isNaN)).toBe(true)
})

test('safetensors: one tensor with the name of the kind', async () => {
  const bytes = await whole('safetensors')
  const begin = 8 + Number(bytes.readBigUInt64LE(0))
  expect(JSON.parse(bytes.subarray(8, begin).toString())).toEqual({
    image_embeds: { dtype: 'F32', shape: [4, 2, 3], data_offsets: [0, 96] },
  })
  expect(begin % 8).toBe(0)
  const values = new Float32Array(new Uint8Array(bytes.subarray(begin)).buffer)
  expect([...values.subarray(18)]).toEqual([30, 31, 32, 33, 34, 35])
})

test('jsonl: a line for each input', async () => {
  const lines = (await whole('jsonl'))
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines.map(({ input, error }) => [input, error])).toEqual([
    ['a', 'not_a_picture'],
    ['b', undefined],
    ['c', 'not_a_picture'],
    ['d', undefined],
  ])
  expect(lines[3]).toMatchObject({ kind: 'image_embeds', shape: [2, 3], data: [30, 31, 32, 33, 34, 35] })
})

describe.each(FORMATS)('%s', (format) => {
  test.each([0, 1, 2, 3, 4])('a run that is stopped after %i rows is continued', async (end) => {
    const path = join(room, `stopped-${end}.${format}`)
    if (end < 4) await run(path, format, end)
    else {
      // All rows, but not yet in place.
      const file = await openVectorFile(path, planOf(format))
      for (let i = 0; i < 4; i++) await file.add(rowOf(i))
      await file.close()
    }
    expect(await run(path, format)).toBe(end)
    expect(await readFile(path)).toEqual(await whole(format))
  })

  test('a row that was half written is written again', async () => {
    const path = join(room, `torn.${format}`)
    await run(path, format, 3)
    await appendFile(`${path}.partial`, 'torn')
    await appendFile(`${path}.inputs.jsonl`, '{"input": "d", "sh')
    expect(await run(path, format)).toBe(3)
    expect(await readFile(path)).toEqual(await whole(format))
    // The list is ahead of the rows after a crash of the machine.
    const behind = join(room, `behind.${format}`)
    await run(behind, format, 3)
    const { length } = await readFile(`${behind}.partial`)
    await truncate(`${behind}.partial`, length - 2)
    expect(await run(behind, format)).toBe(2)
    expect(await readFile(behind)).toEqual(await whole(format))
  })

  test('rows of another kind are not continued', async () => {
    const path = join(room, `other.${format}`)
    await run(path, format, 3, 'vision')
    expect(await run(path, format)).toBe(0)
    expect(await readFile(path)).toEqual(await whole(format))
  })
})

test('rows of several shapes need jsonl', async () => {
  const add = async (format: Format) => {
    const file = await openVectorFile(join(room, `shapes.${format}`), planOf(format))
    await file.add({ shape: [1], data: Float32Array.of(1) })
    await file.add({ shape: [2], data: Float32Array.of(1, 2) }).finally(() => file.close())
  }
  await expect(add('npy')).rejects.toMatchObject({
    code: 'bad_field',
    message: expect.stringContaining('--pool'),
  })
  await expect(add('safetensors')).rejects.toMatchObject({ code: 'bad_field' })
  await expect(add('jsonl')).resolves.toBeUndefined()
})

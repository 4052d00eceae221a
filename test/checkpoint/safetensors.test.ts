// A folder of weights: what is read from it, and what every lie of a header ends in.

import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openSafetensors, readSafetensors } from '../../src/checkpoint/safetensors.ts'
import { ArtifactError } from '../../src/errors.ts'
import { toFloat32 } from '../../src/quantize/kernels.ts'
import { type RawTensor, safetensors, withHeader } from '../make-checkpoint.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
})
afterEach(() => rm(folder, { recursive: true }))

const put = (file: string, content: Buffer | string) => writeFile(join(folder, file), content)
const WEIGHTS = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'

async function problem(): Promise<string> {
  const error = await openSafetensors(folder).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(ArtifactError)
  return `${(error as ArtifactError).code}: ${(error as ArtifactError).message}`
}

describe('values', () => {
  async function valuesOf(dtype: string, patterns: number[], bytesEach: 2 | 4): Promise<number[]> {
    const bytes = Buffer.alloc(patterns.length * bytesEach)
    patterns.forEach((pattern, i) => {
      bytes.writeUIntLE(pattern, i * bytesEach, bytesEach)
    })
    await put(WEIGHTS, safetensors([{ name: 'x', dtype, shape: [patterns.length], bytes }]))
    return await valuesOfFile()
  }

  async function valuesOfFile(): Promise<number[]> {
    const files = await openSafetensors(folder)
    const values: number[] = []
    for await (const rows of files.rows(files.entries.get('x')!)) {
      for (const value of new Float32Array(toFloat32(rows).buffer)) values.push(value)
    }
    return values
  }

  test.each([
    [0x3c00, 1],
    [0xc000, -2],
    [0x3555, 0.333251953125],
    [0x7bff, 65504],
    [0x0400, 2 ** -14],
    [0x03ff, 1023 * 2 ** -24],
    [0x0001, 2 ** -24],
    [0x8001, -(2 ** -24)],
    [0x0000, 0],
    [0x8000, -0],
  ])('float16 %i is %d', async (pattern, value) => {
    expect(await valuesOf('F16', [pattern], 2)).toEqual([value])
  })

  test.each([
    [0x3f80, 1],
    [0xc000, -2],
    [0x3eab, 0.333984375],
    [0x7f7f, 255 * 2 ** 120],
    [0x0080, 2 ** -126],
    [0x0001, 2 ** -133],
    [0x807f, -127 * 2 ** -133],
    [0x8000, -0],
  ])('bfloat16 %i is %d', async (pattern, value) => {
    expect(await valuesOf('BF16', [pattern], 2)).toEqual([value])
  })

  test.each([
    ['F16', 0x7c00, 2],
    ['F16', 0xfc00, 2],
    ['F16', 0x7e01, 2],
    ['BF16', 0x7f80, 2],
    ['BF16', 0xffc1, 2],
    ['F32', 0x7f800000, 4],
    ['F32', 0x7fc00000, 4],
  ] as const)('rejects the infinity or NaN %s %i', async (dtype, pattern, bytesEach) => {
    await expect(valuesOf(dtype, [0, pattern, 0], bytesEach)).rejects.toThrow('x in model.safetensors')
  })

  test.each([
    [
      'is rounded to float32',
      [0.1, -1e-50, 1 + 2 ** -24, 1 + 3 * 2 ** -24, 3.4028235677973366e38 - 2e30, -0],
    ],
    ['takes more than one piece', Array.from({ length: 300_000 }, (_, i) => Math.sin(i))],
  ])('float64 %s', async (_, doubles) => {
    const bytes = new Uint8Array(Float64Array.from(doubles).buffer)
    await put(WEIGHTS, safetensors([{ name: 'x', dtype: 'F64', shape: [doubles.length], bytes }]))
    const expected = Float32Array.from(doubles)
    expect(Float32Array.from(await valuesOfFile())).toEqual(expected)
    const { tensors } = await readSafetensors(join(folder, WEIGHTS))
    expect(tensors.get('x')!.data).toEqual(expected)
  })

  test.each([1e39, Number.NaN, Number.NEGATIVE_INFINITY])('rejects %d in float64', async (value) => {
    const bytes = new Uint8Array(Float64Array.of(0, value).buffer)
    await put(WEIGHTS, safetensors([{ name: 'x', dtype: 'F64', shape: [2], bytes }]))
    await expect(valuesOfFile()).rejects.toThrow(
      'x in model.safetensors, rounded to float32, holds NaN or infinity',
    )
  })

  test('come in whole rows, however long the tensor', async () => {
    const [rows, columns] = [5000, 1000]
    const bytes = Buffer.alloc(rows * columns * 4)
    for (let row = 0; row < rows; row++) bytes.writeFloatLE(row, row * columns * 4)
    await put(WEIGHTS, safetensors([{ name: 'x', dtype: 'F32', shape: [rows, columns], bytes }]))
    const files = await openSafetensors(folder)
    const lengths: number[] = []
    const firsts: number[] = []
    for await (const piece of files.rows(files.entries.get('x')!)) {
      await stat(folder) // the next piece is read meanwhile, into other memory
      const values = new Float32Array(toFloat32(piece).buffer)
      lengths.push(values.length)
      for (let at = 0; at < values.length; at += columns) firsts.push(values[at]!)
    }
    expect(lengths.length).toBeGreaterThan(2)
    expect(lengths.every((length) => length % columns === 0)).toBe(true)
    expect(firsts).toEqual(Array.from({ length: rows }, (_, row) => row))
  })

  test('a file cut off after it was opened is an error', async () => {
    await put(WEIGHTS, safetensors([{ name: 'x', dtype: 'F32', shape: [64], bytes: Buffer.alloc(256) }]))
    const files = await openSafetensors(folder)
    await truncate(join(folder, WEIGHTS), 100)
    await expect(files.rows(files.entries.get('x')!).next()).rejects.toThrow('ends early')
  })
})

describe('a header', () => {
  const entry = { dtype: 'F32', shape: [1], data_offsets: [0, 4] }

  test.each<[string, Record<string, unknown>, string]>([
    ['an unknown dtype', { dtype: 'F4' }, 'a has the unknown dtype F4'],
    ['a dtype named like a method', { dtype: 'constructor' }, 'unknown dtype constructor'],
    ['a dtype that is no text', { dtype: 5 }, 'a.dtype'],
    ['a negative size', { shape: [-1] }, 'a.shape.0'],
    ['half a size', { shape: [1.5] }, 'a.shape.0'],
    ['a shape that is no list', { shape: 1 }, 'a.shape'],
    ['more values than bytes', { shape: [2] }, 'needs 8 bytes but has 4'],
    ['more values than a number can count', { shape: [2 ** 40, 2 ** 40] }, 'but has 4'],
    ['offsets past the end', { shape: [2], data_offsets: [0, 8] }, 'the download is incomplete'],
    ['offsets far past the end', { shape: [2 ** 50], data_offsets: [0, 2 ** 52] }, 'is incomplete'],
    ['offsets that run backwards', { data_offsets: [4, 0] }, 'needs 4 bytes but has -4'],
    ['offsets before the start', { data_offsets: [-4, 0] }, 'a.data_offsets.0'],
    ['one offset', { data_offsets: [0] }, 'a.data_offsets'],
    ['a tensor that does not begin where the bytes do', { shape: [0], data_offsets: [4, 4] }, 'leave a hole'],
  ])('with %s is rejected', async (_, edit, words) => {
    await put(WEIGHTS, withHeader(JSON.stringify({ a: { ...entry, ...edit } }), Buffer.alloc(4)))
    expect(await problem()).toMatch(/^bad_weights: /)
    expect(await problem()).toContain(words)
  })

  test.each([
    ['overlap', [0, 8], [4, 12], 'overlap'],
    ['are the same bytes', [0, 8], [0, 8], 'overlap'],
    ['leave a hole', [0, 8], [12, 20], 'leave a hole'],
    ['leave bytes at the end', [0, 8], [8, 16], 'end at byte'],
  ])('whose tensors %s is rejected', async (_, first, second, words) => {
    const tensor = (data_offsets: number[]) => ({ dtype: 'F32', shape: [2], data_offsets })
    await put(WEIGHTS, withHeader(JSON.stringify({ a: tensor(first), b: tensor(second) }), Buffer.alloc(20)))
    expect(await problem()).toContain(words)
  })

  test.each<[string, Buffer, string]>([
    ['none', Buffer.alloc(0), 'only 0 bytes'],
    ['half a length', Buffer.alloc(5), 'only 5 bytes'],
    ['a length of 2^64 - 1', Buffer.alloc(64, 255), 'its header claims'],
    ['a length past the end', Buffer.from([100, 0, 0, 0, 0, 0, 0, 0, 123, 125]), 'its header claims 100'],
    ['11 MB', withHeader('['.repeat(11_000_000)), 'its header claims 11000000'],
    ['a list', withHeader('[]'), 'its header is not an object'],
    ['null', withHeader('null'), 'its header is not an object'],
    ['NaN', withHeader('{"a":NaN}'), 'model.safetensors is not valid JSON'],
    ['a tensor that is text', withHeader('{"a":"b"}'), 'wrong at a'],
  ])('of %s is rejected', async (_, file, words) => {
    await put(WEIGHTS, file)
    expect(await problem()).toContain(words)
  })

  test('may hold metadata, spaces at its end, and tensors without values', async () => {
    const header = {
      __metadata__: { format: 'pt' },
      b: entry,
      a: { ...entry, shape: [0], data_offsets: [0, 0] },
    }
    await put(WEIGHTS, withHeader(`${JSON.stringify(header)}    `, Buffer.alloc(4)))
    const files = await openSafetensors(folder)
    expect([...files.entries.keys()]).toEqual(['a', 'b'])
  })
})

describe('the folder', () => {
  const one = (name: string): RawTensor[] => [{ name, dtype: 'F32', shape: [1], bytes: new Uint8Array(4) }]
  const index = (map: unknown) => put(INDEX, JSON.stringify({ weight_map: map }))

  const filesOf = async () => {
    const { entries } = await openSafetensors(folder)
    return Object.fromEntries([...entries.values()].map(({ name, file }) => [name, file]))
  }

  test('is read through its index, whatever other files there are', async () => {
    await put('1.safetensors', safetensors(one('a')))
    await put('2.safetensors', safetensors(one('b')))
    await put('left-over.safetensors', 'garbage')
    await put('model.fp16.safetensors', 'garbage')
    await put('pytorch_model.bin', 'garbage')
    await index({ a: '1.safetensors', b: '2.safetensors' })
    expect(await filesOf()).toEqual({ a: '1.safetensors', b: '2.safetensors' })
  })

  test('with model.safetensors is read from that, whatever an index says', async () => {
    await put(WEIGHTS, safetensors(one('a')))
    await put('1.safetensors', safetensors(one('a')))
    await index({ a: '1.safetensors' })
    expect(await filesOf()).toEqual({ a: WEIGHTS })
    await put(INDEX, 'garbage')
    expect(await filesOf()).toEqual({ a: WEIGHTS })
  })

  test('whose index is wrong about a shard is read as the shards are', async () => {
    await put('1.safetensors', safetensors([...one('a'), ...one('c')]))
    await put('2.safetensors', safetensors(one('b')))
    await index({ a: '2.safetensors', b: '1.safetensors', missing: '1.safetensors' })
    expect(await filesOf()).toEqual({ a: '1.safetensors', b: '2.safetensors', c: '1.safetensors' })
  })

  test('whose config.json names the weights is read from those', async () => {
    await put(WEIGHTS, safetensors(one('a')))
    await put('other.safetensors', safetensors(one('b')))
    await put('config.json', '{"transformers_weights": "other.safetensors"}')
    expect(await filesOf()).toEqual({ b: 'other.safetensors' })
    await put('other.safetensors.index.json', '{"weight_map": {"a": "model.safetensors"}}')
    await put('config.json', '{"transformers_weights": "other.safetensors.index.json"}')
    expect(await filesOf()).toEqual({ a: WEIGHTS })
    for (const name of ['../other.safetensors', 'nowhere.safetensors', 'config.json']) {
      await put('config.json', JSON.stringify({ transformers_weights: name }))
      expect(await problem()).toContain(`expected ${name} (transformers_weights in config.json)`)
      expect(await problem()).toMatch(/^no_weights: /)
    }
  })

  test('with one tensor in two shards is read from the later one, whatever the index says, as transformers reads it', async () => {
    await put('1.safetensors', safetensors(one('a')))
    await put('2.safetensors', safetensors(one('a')))
    await index({ a: '1.safetensors', b: '2.safetensors' })
    expect(await filesOf()).toEqual({ a: '2.safetensors' })
  })

  test.each<[string, unknown]>([
    ['outside', { a: '../model.safetensors' }],
    ['absolute', { a: '/etc/passwd' }],
    ['no text', { a: 5 }],
    ['no map', []],
  ])('whose index names files that are %s is rejected', async (_, map) => {
    await index(map)
    expect(await problem()).toContain('bad_weights: model.safetensors.index.json')
  })

  test.each(['..', '.', 'nowhere.safetensors', 'a\0b'])('whose index names %j is rejected', async (name) => {
    await index({ a: name })
    expect(await problem()).toContain(`no_weights: The file ${name}`)
  })

  test.each<[string, (path: string) => unknown]>([
    ['a folder', (path) => mkdir(path)],
    ['a link to itself', (path) => symlink(WEIGHTS, path)],
    ['a pipe', (path) => execFileSync('mkfifo', [path])],
    ['an endless device', (path) => symlink('/dev/zero', path)],
  ])('whose weights are %s is rejected at once', async (_, make) => {
    await make(join(folder, WEIGHTS))
    expect(await problem()).toMatch(/^no_weights: /)
  })

  test.each([
    ['pytorch_model.bin', 'It has pytorch_model.bin: load that'],
    ['pytorch_model-00001-of-00002.bin', 'It has pytorch_model-00001-of-00002.bin: load that'],
    ['model.fp16.safetensors', 'It has model.fp16.safetensors: if that holds all weights, rename it'],
    ['model-00001-of-00002.safetensors', 'if it is one of several, download their index too'],
    ['training_args.bin', 'or model.safetensors.index.json. Download the checkpoint again.'],
  ])('with no weights but %s says what to do', async (file, words) => {
    await put(file, '')
    expect(await problem()).toContain(words)
  })

  test('that is a file is rejected', async () => {
    await put('file', '')
    folder = join(folder, 'file')
    expect(await problem()).toMatch(/^no_checkpoint: /)
    folder = join(folder, '..')
  })
})

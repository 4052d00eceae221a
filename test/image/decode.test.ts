import { describe, expect, test } from 'vitest'
import { AS_SEEN, AS_TRANSFORMERS, type DecodeOptions, decode } from '../../src/image/decode.ts'
import { bytesAt, expected, fixture } from './expected.ts'

const RULES: [key: 'as_transformers' | 'as_seen', rule: DecodeOptions][] = [
  ['as_transformers', AS_TRANSFORMERS],
  ['as_seen', AS_SEEN],
]

describe.each(RULES)('%s', (key, rule) => {
  test.each(expected.pictures)('reads $name (Pillow mode $mode) as Pillow does', async (picture) => {
    const rgb = await decode(fixture(picture.name), rule)
    const { width, height } = picture[key]
    const wanted = bytesAt(picture[key])
    expect([rgb.width, rgb.height]).toEqual([width, height])
    if (picture.mean_difference) {
      const sum = wanted.reduce((total, value, i) => total + Math.abs(value - rgb.data[i]!), 0)
      expect(sum / wanted.length).toBeLessThan(picture.mean_difference)
    } else {
      expect(Buffer.compare(rgb.data, wanted)).toBe(0)
    }
  })
})

test('turns all eight EXIF orientations into the same upright shape', async () => {
  for (let turn = 1; turn <= 8; turn++) {
    const { width, height } = await decode(fixture(`orientation-${turn}.jpg`), AS_SEEN)
    expect([width, height]).toEqual(turn < 5 ? [24, 16] : [16, 24])
  }
})

test('shows white, not the black under it, where a picture is see-through', async () => {
  const file = fixture('grey-alpha8.png') // its first pixel is black with alpha 0
  expect((await decode(file, AS_SEEN)).data[0]).toBe(255)
  expect((await decode(file, AS_TRANSFORMERS)).data[0]).toBe(0)
})

test('clips 16-bit grey as Pillow does when a rule does not say otherwise', async () => {
  const rule: DecodeOptions = { alpha: 'drop', orientation: 'ignore' }
  expect(await decode(fixture('grey16.png'), rule)).toEqual(
    await decode(fixture('grey16.png'), AS_TRANSFORMERS),
  )
})

test('reads a view into a larger buffer, and leaves the bytes as they were', async () => {
  const file = fixture('rgb.png')
  const around = new Uint8Array(file.length + 20).fill(7)
  around.set(file, 10)
  const view = around.subarray(10, 10 + file.length)
  expect(await decode(view, AS_SEEN)).toEqual(await decode(file, AS_SEEN))
  expect(Buffer.compare(view, file)).toBe(0)
})

test('decodes many pictures at once without mixing them up', async () => {
  const names = expected.pictures.filter((picture) => !picture.mean_difference).map(({ name }) => name)
  const all = await Promise.all(names.map((name) => decode(fixture(name), AS_TRANSFORMERS)))
  all.forEach((rgb, i) => {
    expect(
      Buffer.compare(rgb.data, bytesAt(expected.pictures.find((p) => p.name === names[i])!.as_transformers)),
    ).toBe(0)
  })
})

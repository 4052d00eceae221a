import { deflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { RequestError } from '../../src/errors.ts'
import type { Rgb } from '../../src/image/colours.ts'
import { AS_SEEN, AS_TRANSFORMERS, decode } from '../../src/image/decode.ts'
import { MAX_PICTURE_BYTES, MAX_PIXELS } from '../../src/image/format.ts'
import { expected, fixture } from './expected.ts'

const NAMES = expected.pictures.map((picture) => picture.name)

/** Cuts tried per file: enough to fall into every structure of a file of a few kB. */
const CUTS = 24

/** More boxes than any picture has. */
const MANY_BOXES = 20_000

/** What a run of decodes may add to the process: far above noise, far below any bomb here. */
const MEMORY_BYTES = 150 * 2 ** 20

async function codeOf(bytes: Uint8Array): Promise<string> {
  const settled = await decode(bytes, AS_SEEN).catch((error: unknown) => error)
  if (!(settled instanceof Error)) return 'a picture'
  expect(settled).toBeInstanceOf(RequestError)
  expect(settled.message).toMatch(/^Expected .+ but got .+\. (Send|Save) .+\.$/)
  return (settled as RequestError).code
}

const text = (words: string) => new TextEncoder().encode(words)

describe('what is no picture', () => {
  test.each([
    ['an empty file', new Uint8Array(0)],
    ['an HTML page', text('\n<!DOCTYPE html>\n<html><head><title>Sign in | Slack</title></head></html>')],
    [
      'an SVG drawing',
      text('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    ],
    ['an SVG drawing', text('\ufeff<!-- a --><svg><image href="file:///etc/passwd"/></svg>')],
    ['a PDF document', text('%PDF-1.7\n1 0 obj\n')],
    ['text', text('Who is in this picture? Füße!')],
    ['text', text('{"ok":false,"error":"invalid_auth"}')],
    ['a HEIC picture', text('\0\0\0\x18ftypheic\0\0\0\0mif1heic')],
    ['a HEIC picture', text('\0\0\0\x18ftypmif1\0\0\0\0mif1heic')],
    ['a HEIC picture', text('\0\0\0\x18ftypmsf1\0\0\0\0hevcmif1')],
    ['a video', text('\0\0\0\x18ftypisom\0\0\0\0isommp42')],
    ['a video', text('\0\0\0\x14ftypqt  \0\0\0\0qt  ')],
    ['a sound', text('\0\0\0\x18ftypM4A \0\0\0\0M4A mp42')],
    ["a camera's raw file", text('\0\0\0\x18ftypcrx \0\0\0\x01crx isom')],
    ["a camera's raw file", text('II*\0\x10\0\0\0CR\x02\0')],
    ['a JPEG XL picture', new Uint8Array([0xff, 0x0a, 0xfa, 0x1f])],
    ['a JPEG XL picture', text('\0\0\0\x0cJXL \r\n')],
    ['a JPEG 2000 picture', text('\0\0\0\x0cjP  \r\n')],
    ['a JPEG 2000 picture', new Uint8Array([0xff, 0x4f, 0xff, 0x51, 0, 47])],
    ['a JPEG XR picture', new Uint8Array([0x49, 0x49, 0xbc, 1, 8, 0, 0, 0])],
    ['an icon file', new Uint8Array([0, 0, 1, 0, 1, 0, 16, 16])],
    ['a Targa picture', new Uint8Array([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 9, 0, 24, 0])],
    ['a Photoshop file', text('8BPS\0\x01\0\0\0\0\0\0')],
    ['a PNM picture', text('P6\n1 1\n255\nabc')],
    ['a QOI picture', text('qoif\0\0\0\x01\0\0\0\x01\x03\0')],
    ['text', text('The wide world of JXL')],
    ['a zip archive', text('PK\x03\x04\x14\0')],
    ['a BMP picture', text('BM\x9a\0\0\0\0\0\0\0')],
    ['an unknown kind of file', new Uint8Array(4000)],
    ['an unknown kind of file', new Uint8Array([0xff])],
    ['an AVIF sequence without a still', text('\0\0\0\x10ftypavis\0\0\0\0\0\0\0\x08moov')],
    ['a GIF file without colours', text('GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;')],
    [
      'a JPEG file of 12 bits',
      patched('photo.jpg', Buffer.from(fixture('photo.jpg')).indexOf('\xff\xc0', 'latin1') + 4, [12]),
    ],
  ])('names %s', async (name, bytes) => {
    await expect(decode(bytes, AS_SEEN)).rejects.toThrow(name)
    expect(await codeOf(bytes)).toBe('not_a_picture')
  })

  test('no other loader runs, even behind an accepted magic number', async () => {
    const { default: sharp } = await import('sharp')
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    await expect(sharp(svg).metadata()).rejects.toThrow('unsupported image format')
    await expect(sharp(Buffer.from('P6 1 1 255\nabc')).metadata()).rejects.toThrow('unsupported image format')
  })

  test.each([
    ['compressed by old-style JPEG', { 259: 6 }],
    ['compressed by Zstandard', { 259: 50_000 }],
    ['compressed in way 34933', { 259: 34_933 }],
    ['in colours other than grey, RGB, YCbCr, CMYK, L*a*b* or a palette (32803)', { 262: 32_803 }],
    ['in inks other than CMYK', { 262: 5, 277: 4, 332: 2 }],
    ['of signed or floating-point samples', { 258: 32, 339: 3 }],
    ['of 1 x 32 bits a pixel', { 258: 32 }],
    ['of 3 x 4 bits a pixel', { 258: 4, 262: 2, 277: 3 }],
    ['of 2 samples a pixel, not all of them colours', { 277: 2 }],
    ['of 4 samples a pixel, not all of them colours', { 262: 6, 277: 4, 338: 2 }],
    ['of 2 samples a pixel, not all of them colours', { 262: 3, 277: 2, 338: 1 }],
    ['of planes that hold one colour each', { 262: 2, 277: 3, 284: 2, 322: 16, 323: 16 }],
    ['of planes that hold one colour each', { 277: 2, 284: 2, 338: 2 }],
    ['of tiles of halved colour', { 262: 6, 277: 3, 322: 16, 323: 16 }],
  ])('a TIFF %s is called that', async (what, tags) => {
    const base = { 256: 2, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 8 }
    const file = tiffOf(Object.entries({ ...base, ...tags }).map(([tag, value]) => [Number(tag), value]))
    await expect(decode(file, AS_SEEN)).rejects.toThrow(`a TIFF file ${what}. Send`)
    expect(await codeOf(file)).toBe('not_a_picture')
  })
})

describe('what is too large', () => {
  test('a file of more than 20 MiB', async () => {
    const bytes = new Uint8Array(MAX_PICTURE_BYTES + 1)
    bytes.set(fixture('rgb.png'))
    expect(await codeOf(bytes)).toBe('picture_too_large')
  })

  test('headers that promise more than 50 million pixels, before any is decoded', async () => {
    const started = process.memoryUsage().rss
    expect(await codeOf(pngOf(60_000, 60_000))).toBe('picture_too_large')
    expect(await codeOf(pngOf(MAX_PIXELS + 1, 1))).toBe('picture_too_large')
    expect(await codeOf(patched('palette.gif', 6, [0xff, 0xff, 0xff, 0xff]))).toBe('picture_too_large')
    const frame = Buffer.from(fixture('photo.jpg')).indexOf(Buffer.from([0xff, 0xc0]))
    expect(await codeOf(patched('photo.jpg', frame + 5, [0xf0, 0, 0xf0, 0]))).toBe('picture_too_large')
    await expect(decode(pngOf(60_000, 60_000), AS_SEEN)).rejects.toThrow(
      'at most 50000000 pixels but got 60000 x 60000',
    )
    expect(process.memoryUsage().rss - started).toBeLessThan(MEMORY_BYTES)
  })

  test('a side longer than any panorama, before any row is decoded', async () => {
    const rows = deflateSync(Buffer.alloc(70_000 * 2))
    expect(await codeOf(pngOf(1, 70_000, rows))).toBe('picture_too_large')
    await expect(decode(pngOf(1, 50_000_000), AS_SEEN)).rejects.toThrow(
      'sides of at most 65535 pixels but got 1 x 50000000',
    )
    expect(await codeOf(pngOf(50_000_000, 1))).toBe('picture_too_large')
  })

  test('but not a panorama of 65535 x 760', async () => {
    const rows = deflateSync(Buffer.alloc(65_536 * 760))
    expect(await codeOf(pngOf(65_535, 760, rows))).toBe('a picture')
  })

  test('but not a strip of 1 x 60000', async () => {
    const rows = deflateSync(Buffer.alloc(60_000 * 2))
    const { width, height, data } = await decode(pngOf(1, 60_000, rows), AS_TRANSFORMERS)
    expect([width, height, data.length]).toEqual([1, 60_000, 180_000])
  })
})

describe('what is damaged', () => {
  test('headers that promise more than the file holds', async () => {
    const started = process.memoryUsage().rss
    expect(await codeOf(pngOf(6000, 6000))).toBe('damaged_picture')
    expect(await codeOf(pngOf(0, 5))).toBe('damaged_picture')
    expect(await codeOf(patched('lossless.webp', 4, [0xff, 0xff, 0xff, 0x7f]))).toBe('damaged_picture')
    // A tile of 4 GB for a picture of one pixel, and a strip past the end.
    const tile: [number, number][] = [
      [256, 1],
      [257, 1],
      [258, 8],
      [259, 1],
      [262, 1],
      [322, 65_520],
      [323, 65_520],
      [324, 8],
      [325, 4],
    ]
    expect(await codeOf(tiffOf(tile))).toBe('damaged_picture')
    const strip: [number, number][] = [
      [256, 4000],
      [257, 4000],
      [258, 8],
      [259, 1],
      [262, 1],
      [273, 1_000_000],
      [278, 4000],
      [279, 16_000_000],
    ]
    expect(await codeOf(tiffOf(strip))).toBe('damaged_picture')
    expect(process.memoryUsage().rss - started).toBeLessThan(MEMORY_BYTES)
  })

  test('a TIFF whose directory is, or points, outside the file', async () => {
    for (const offset of [0xffffffff, 4, 400_000]) {
      const file = Buffer.from(fixture('rgb-lzw.tif'))
      file.writeUInt32LE(offset, 4)
      expect(await codeOf(file)).toBe('damaged_picture')
    }
    const big = Buffer.from(fixture('bigtiff.tif'))
    big.writeBigUInt64LE(2n ** 64n - 1n, 16) // entries
    expect(await codeOf(big)).toBe('damaged_picture')
    const outside = patched(
      'ycbcr-narrow.tif',
      entryAt('ycbcr-narrow.tif', 529) + 8,
      [0xff, 0xff, 0xff, 0x7f],
    )
    expect(await codeOf(outside)).toBe('damaged_picture')
    expect(await codeOf(patched('palette4.tif', entryAt('palette4.tif', 320), [0, 0xff]))).toBe(
      'damaged_picture',
    )
  })

  test('AVIF boxes without end', async () => {
    const whole = Buffer.from(fixture('animated.avif'))
    const boxes = Buffer.alloc(8 * MANY_BOXES, '\0\0\0\x08free', 'latin1')
    expect(await codeOf(Buffer.concat([whole.subarray(0, 44), boxes]))).toBe('damaged_picture')
    for (const size of [0, 1, 7, 0xffffffff]) {
      const changed = Buffer.from(whole)
      changed.writeUInt32BE(size, whole.indexOf('iprp') - 4)
      expect(['a picture', 'damaged_picture']).toContain(await codeOf(changed))
    }
  })

  test('a JPEG that ends early, never a picture half grey', async () => {
    for (const name of ['photo.jpg', 'photo-progressive.jpg', 'cmyk.jpg']) {
      const whole = fixture(name)
      expect(await codeOf(whole.subarray(0, whole.length / 2))).toBe('damaged_picture')
      expect(await codeOf(whole.subarray(0, whole.length - 40))).toBe('damaged_picture')
    }
  })

  test.each(NAMES)('%s cut anywhere is the whole picture or a RequestError', async (name) => {
    const whole = fixture(name)
    const full = await decode(whole, AS_TRANSFORMERS)
    const step = Math.max(1, Math.floor(whole.length / CUTS))
    const cuts = Array.from({ length: Math.floor((whole.length - 1) / step) }, (_, i) => 1 + i * step)
    const results = await Promise.all(
      [...cuts, whole.length - 1, whole.length - 2].map((cut) => attempt(whole.subarray(0, cut))),
    )
    for (const result of results) {
      if (result) expect(Buffer.compare(result.data, full.data)).toBe(0)
    }
  })

  test.each(NAMES)('%s with bytes changed is a picture of its size or a RequestError', async (name) => {
    const whole = fixture(name)
    let state = whole.length
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    const changed = Array.from({ length: CUTS }, () => {
      const bytes = whole.slice()
      for (let i = 0; i < 3; i++) bytes[random(bytes.length)] = random(256)
      return attempt(bytes)
    })
    for (const result of await Promise.all(changed)) {
      if (result) expect(result.data.length).toBe(result.width * result.height * 3)
    }
  })
})

/** A picture, or nothing when it ended in an RequestError; anything else fails the test. */
async function attempt(bytes: Uint8Array): Promise<Rgb | undefined> {
  try {
    return await decode(bytes, AS_TRANSFORMERS)
  } catch (error) {
    expect(error).toBeInstanceOf(RequestError)
    return undefined
  }
}

function patched(name: string, at: number, bytes: number[]): Uint8Array {
  const copy = fixture(name)
  copy.set(bytes, at)
  return copy
}

/** The offset of a tag's entry in a little-endian TIFF. */
function entryAt(name: string, tag: number): number {
  const file = Buffer.from(fixture(name))
  for (let at = file.readUInt32LE(4) + 2; ; at += 12) if (file.readUInt16LE(at) === tag) return at
}

/** An 8-bit grey PNG with any header; its rows are one empty deflate stream unless given. */
function pngOf(width: number, height: number, rows: Uint8Array = deflateSync(Buffer.alloc(0))): Uint8Array {
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0])
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('IDAT', rows),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function chunk(kind: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(kind), data])
  const out = Buffer.alloc(body.length + 8)
  out.writeUInt32BE(data.length, 0)
  body.copy(out, 4)
  out.writeUInt32BE(crc32(body), body.length + 4)
  return out
}

function crc32(bytes: Uint8Array): number {
  let crc = ~0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}

/** A little-endian TIFF: 8 bytes of data at 8, then one directory of LONG values. */
function tiffOf(tags: [tag: number, value: number][]): Uint8Array {
  const out = Buffer.alloc(16 + 2 + tags.length * 12 + 4)
  out.write('II*\0', 'latin1')
  out.writeUInt32LE(16, 4)
  out.writeUInt16LE(tags.length, 16)
  tags.forEach(([tag, value], i) => {
    const at = 18 + i * 12
    out.writeUInt16LE(tag, at)
    out.writeUInt16LE(4, at + 2)
    out.writeUInt32LE(1, at + 4)
    out.writeUInt32LE(value, at + 8)
  })
  return out
}

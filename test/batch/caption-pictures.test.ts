// Captions of many pictures: a row for each, resumed by content, in files that survive an unfinished last row.

import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Papa from 'papaparse'
import sharp from 'sharp'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type BatchOptions, captionPictures } from '../../src/batch/caption-pictures.ts'
import { namesIn, picturesNamed } from '../../src/batch/pictures.ts'
import { openRows, type Row } from '../../src/batch/rows.ts'
import { BusyError } from '../../src/errors.ts'
import { sha256Hex } from '../../src/hash.ts'
import { openPacket } from '../../src/xmp/packet.ts'
import { openPng } from '../../src/xmp/png.ts'
import { CAPTION, doubleEngine, PNG } from '../serve/double.ts'

let room: string
let photos: string
let engine: ReturnType<typeof doubleEngine>
beforeEach(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-batch-'))
  photos = join(room, 'photos')
  await mkdir(photos)
  engine = doubleEngine()
})
afterEach(() => rm(room, { recursive: true }))

/** A PNG of its own content. */
const png = (red: number) =>
  sharp({ create: { width: 2, height: 2, channels: 3, background: { r: red, g: 0, b: 0 } } })
    .png()
    .toBuffer()
const put = async (name: string, bytes: Uint8Array | string) => {
  const path = join(photos, name)
  await writeFile(path, bytes)
  return path
}
const run = async (out: string, resume = false, more: Partial<BatchOptions> = {}, names = [photos]) => {
  const rows = await openRows(join(room, out), resume)
  const options = { engine, batch: 4, request: {}, rows, overwrite: false, ...more }
  try {
    return await captionPictures(await picturesNamed(names), options)
  } finally {
    rows.close()
  }
}
const rowsIn = async (out: string): Promise<Row[]> => {
  const text = await readFile(join(room, out), 'utf8')
  if (out.endsWith('.csv')) return Papa.parse<Row>(text, { header: true, skipEmptyLines: true }).data
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Row)
}
const imagesIn = async (out: string) => (await rowsIn(out)).map(({ image }) => image.slice(photos.length + 1))

describe('names', () => {
  test('folders, globs and files are pictures; what is none is named with a reason', async () => {
    await mkdir(join(photos, 'in/deep'), { recursive: true })
    for (const name of ['a.png', 'in/b.JPG', 'in/deep/c.webp', 'in/notes.txt', '.hidden.png'])
      await put(name, PNG)
    await symlink('loop.png', join(photos, 'loop.png'))
    await symlink('nothing', join(photos, 'dangling.png'))
    await symlink(photos, join(photos, 'in/again'))
    const named = async (names: string[], options = {}) =>
      (await picturesNamed(names, options)).pictures.map(({ image, fault }) => [
        image.slice(photos.length + 1),
        fault,
      ])
    const bad = [
      ['dangling.png', 'it is a link to nothing'],
      ['loop.png', 'its links lead in a circle'],
    ]
    const good = (...names: string[]) => names.map((name) => [name, undefined])
    expect(await named([photos])).toEqual([...good('a.png', 'in/b.JPG', 'in/deep/c.webp'), ...bad])
    expect(await named([photos], { recursive: false })).toEqual([...good('a.png'), ...bad])
    expect(await named([`${photos}/**/*.{JPG,webp}`])).toEqual(good('in/b.JPG', 'in/deep/c.webp'))
    expect(await named([`${photos}/in/*`])).toEqual(good('in/b.JPG'))
    expect(
      await named([join(photos, 'in/notes.txt'), photos, join(photos, 'a.png')], { exclude: ['in', 'l*'] }),
    ).toEqual([...good('in/notes.txt', 'a.png'), bad[0]])
    expect(await named([join(photos, 'no.png'), `${photos}/*.gif`])).toEqual([
      ['no.png', 'it does not exist'],
      ['*.gif', 'no picture fits it'],
    ])
  })

  test('a list has one name a line, or is separated by zero bytes', () => {
    expect(namesIn('a b.png\r\nc.png\n\n')).toEqual(['a b.png', 'c.png'])
    expect(namesIn('a\nb.png\0c.png\0')).toEqual(['a\nb.png', 'c.png'])
  })
})

describe.each(['alt.jsonl', 'alt.csv'])('%s', (out) => {
  test('has a row for every picture, errors too, in the order of the pictures', async () => {
    const odd = ['a "quoted", name.png', 'line\nbreak.png', 'ünïcödé 🐕.png']
    for (const [i, name] of odd.entries()) await put(name, await png(i))
    await put('empty.png', '')
    await put('text.png', 'no picture')
    const large = await put('large.png', '')
    await truncate(large, 21 * 1024 * 1024)
    const report = await run(out)
    expect(report).toEqual({ captioned: 3, reused: 0, kept: 0, errors: 3 })
    expect(await imagesIn(out)).toEqual([...odd, 'empty.png', 'large.png', 'text.png'].sort())
    const rows = await rowsIn(out)
    for (const row of rows) {
      if (row.error_code !== 'picture_too_large') expect(row.sha256).toMatch(/^[0-9a-f]{64}$/)
      expect(Boolean(row.text)).toBe(!row.error)
    }
    expect(rows.filter(({ error_code }) => error_code).map(({ error_code }) => error_code)).toEqual([
      'not_a_picture',
      'picture_too_large',
      'not_a_picture',
    ])
  })

  test('is continued: done pictures need no model, changed ones do, renamed ones do not, gone ones leave', async () => {
    await put('a.png', await png(1))
    await put('b.png', await png(2))
    await put('c.png', await png(3))
    await put('bad.png', 'no picture')
    await run(out)
    expect(engine.asks).toHaveLength(4)
    await put('b.png', await png(4))
    await rename(join(photos, 'c.png'), join(photos, 'd.png'))
    await copyFile(join(photos, 'a.png'), join(photos, 'e.png'))
    await rm(join(photos, 'a.png'))
    const report = await run(out, true)
    expect(report).toEqual({ captioned: 1, reused: 2, kept: 0, errors: 1 })
    expect(engine.asks).toHaveLength(5)
    expect(await imagesIn(out)).toEqual(['b.png', 'bad.png', 'd.png', 'e.png'])
    const [b] = await rowsIn(out)
    expect(b!.sha256).toBe(sha256Hex(await png(4)))
  })

  test('an unfinished last row is cut off at every length, and its picture is done again', async () => {
    await put('a\nb.png', await png(1))
    await put('c "d".png', await png(2))
    await run(out)
    const whole = await readFile(join(room, out))
    const end = out.endsWith('.csv') ? whole.lastIndexOf('\r\n', -3) : whole.lastIndexOf('\n', -2)
    for (let length = 0; length < whole.length; length += 9) {
      await writeFile(join(room, out), whole.subarray(0, length))
      await run(out, true)
      expect((await readFile(join(room, out))).toString()).toBe(whole.toString())
    }
    await writeFile(join(room, out), whole.subarray(0, end - 1))
    engine.asks.length = 0
    await run(out, true)
    expect(engine.asks.length).toBeGreaterThan(0)
  })

  test('rows of other folders stay, and so do texts and columns of a person', async () => {
    await put('a.png', await png(1))
    const other = join(room, 'other.png')
    await writeFile(other, await png(2))
    await run(out, false, {}, [other])
    await run(out, true)
    const text = await readFile(join(room, out), 'utf8')
    const edited = out.endsWith('.csv')
      ? text
          .replace('\r\n', ',by\r\n')
          .replaceAll(/\r\n(?=.)/g, ',\r\n')
          .replace(/,\r\n/, '\r\n')
          .replace(/\r\n$/, ',Ann\r\n')
      : text.replace(/\}\n$/, ',"by":"Ann"}\n')
    await writeFile(join(room, out), edited.replaceAll(CAPTION, 'a text of Ann'))
    engine.asks.length = 0
    await rename(join(photos, 'a.png'), join(photos, 'a b.png'))
    await copyFile(join(photos, 'a b.png'), join(photos, 'a.png'))
    await run(out, true)
    expect(engine.asks).toEqual([])
    const rows = await rowsIn(out)
    expect(rows.map(({ text }) => text)).toEqual(['a text of Ann', 'a text of Ann', 'a text of Ann'])
    expect(rows.find(({ image }) => image.endsWith('/a.png'))).toMatchObject({ by: 'Ann' })
  })

  test('that is there is not overwritten, and something else is refused', async () => {
    await put('a.png', PNG)
    await run(out)
    await expect(run(out)).rejects.toMatchObject({ code: 'destination_taken' })
    for (const text of ['a shopping list\r\nmilk\r\n', '{"other": 1}\n']) {
      await writeFile(join(room, out), text)
      await expect(run(out, true)).rejects.toMatchObject({ code: 'destination_taken' })
      expect(await readFile(join(room, out), 'utf8')).toBe(text)
    }
  })
})

test('a place that cannot be written, and another ending, are refused', async () => {
  for (const out of ['no/folder/alt.jsonl', 'photos', 'alt.txt'])
    await expect(run(out)).rejects.toMatchObject({ code: 'bad_place' })
})

test('another model, prompt or setting makes other texts', async () => {
  await put('a.png', await png(1))
  await run('alt.jsonl')
  for (const request of [{ prompt: 'a photo of' }, { settings: { num_beams: 3 } }]) {
    expect(await run('alt.jsonl', true, { request })).toMatchObject({ captioned: 1, reused: 0 })
    expect(await run('alt.jsonl', true, { request })).toMatchObject({ captioned: 0, reused: 1 })
  }
})

test('the same content is captioned once', async () => {
  for (const name of ['a.png', 'b.png', 'c.png']) await put(name, PNG)
  expect(await run('alt.jsonl')).toMatchObject({ captioned: 1, reused: 2 })
  expect((await rowsIn('alt.jsonl')).map(({ text }) => text)).toEqual([CAPTION, CAPTION, CAPTION])
})

test('no cell of a CSV file is a formula, and its path still names the file', async () => {
  for (const [i, name] of ['=cmd.png', '-x.png', '@y.png'].entries()) await put(name, await png(i))
  for (const text of [
    '=HYPERLINK("http://example.org")',
    '+1',
    '-2',
    '@a',
    '\t=1',
    '＝1',
    ' =1',
    'a, "b"\nc',
  ]) {
    const answer = async (request: object) => ({ ...(await doubleEngine().answer(request)), text })
    await rm(join(room, 'alt.csv'), { force: true })
    const here = process.cwd()
    process.chdir(photos)
    try {
      await run('alt.csv', false, { engine: { ...engine, answer } as never }, [
        '=cmd.png',
        '-x.png',
        '@y.png',
      ])
      const rows = await rowsIn('alt.csv')
      expect(rows.map(({ image }) => image)).toEqual(['./=cmd.png', './-x.png', './@y.png'])
      for (const row of rows)
        for (const cell of Object.values(row)) expect(cell).not.toMatch(/^\s*[=+\-@＝]|^[\t\r]/)
      // The text itself comes back.
      expect(await run('alt.csv', true, {}, ['=cmd.png'])).toMatchObject({ captioned: 0, reused: 1 })
      const again = await openRows(join(room, 'alt.csv'), true)
      again.close()
      expect(again.earlier.map((row) => row.text)).toEqual([text, text, text])
    } finally {
      process.chdir(here)
    }
  }
})

test('an engine that restarts is asked again, one that ends stops the run, and what is done stays', async () => {
  await put('a.png', await png(1))
  await put('b.png', await png(2))
  let calls = 0
  const flaky = {
    ...engine,
    answer: (request: object, hooks: object) =>
      ++calls < 3 ? Promise.reject(new BusyError('restarting', 'words')) : engine.answer(request, hooks),
  } as never
  expect(await run('alt.jsonl', false, { engine: flaky, batch: 1 })).toMatchObject({
    captioned: 2,
    errors: 0,
  })
  await put('c.png', await png(3))
  engine.fail(new BusyError('model_down', 'words'))
  await expect(run('alt.jsonl', true)).rejects.toMatchObject({ code: 'model_down' })
  engine.fail(undefined)
  expect(await run('alt.jsonl', true)).toMatchObject({ captioned: 1, reused: 2 })
})

describe('--write', () => {
  const altOf = async (name: string) => openPacket(openPng(await readFile(join(photos, name))).packet).altText

  test('puts the text into the file, and the next run knows the file by its new content', async () => {
    const before = await png(1)
    await put('a.png', before)
    await run('alt.jsonl', false, { write: 'xmp' })
    expect(await altOf('a.png')).toBe(CAPTION)
    const [row] = await rowsIn('alt.jsonl')
    expect(row).toMatchObject({ sha256: sha256Hex(before), written: 'xmp' })
    expect(row!.written_sha256).toBe(sha256Hex(await readFile(join(photos, 'a.png'))))
    for (const write of [undefined, 'xmp'] as const)
      expect(await run('alt.jsonl', true, { write })).toMatchObject({ captioned: 0, reused: 1, kept: 0 })
    // The text of another prompt replaces the own one.
    const other = async (request: object) => ({
      ...(await doubleEngine().answer(request)),
      text: 'another text',
    })
    await run('alt.jsonl', true, {
      write: 'xmp',
      engine: { ...engine, answer: other } as never,
      request: { prompt: 'a' },
    })
    expect(await altOf('a.png')).toBe('another text')
  })

  test('into a file that links name too, once', async () => {
    await put('a.png', await png(1))
    for (const name of ['b.png', 'c.png']) await symlink('a.png', join(photos, name))
    expect(await run('alt.jsonl', false, { write: 'xmp' })).toMatchObject({
      captioned: 1,
      reused: 2,
      errors: 0,
    })
    expect((await rowsIn('alt.jsonl')).map(({ written }) => written)).toEqual(['xmp', 'xmp', 'xmp'])
    expect(await altOf('a.png')).toBe(CAPTION)
  })

  test('a process that ended between the row and the file writes the file the next time', async () => {
    const before = await png(1)
    const path = await put('a.png', before)
    await run('alt.jsonl', false, { write: 'xmp' })
    await writeFile(path, before)
    engine.asks.length = 0
    await run('alt.jsonl', true, { write: 'xmp' })
    expect(engine.asks).toEqual([])
    expect(await altOf('a.png')).toBe(CAPTION)
  })

  test("a person's text stays and is said to; what cannot be written is an error with its text, tried again", async () => {
    const mine = openPng(await png(1)).withPacket(openPacket().withAltText('By Ann'))
    await put('a.png', mine)
    const path = await put('b.png', await png(2))
    await chmod(path, 0o444)
    const { mtimeMs } = await stat(path)
    expect(await run('alt.jsonl', false, { write: 'xmp' })).toMatchObject({ kept: 1, errors: 1 })
    expect(await rowsIn('alt.jsonl')).toMatchObject([
      { text: CAPTION, written: 'kept' },
      { text: CAPTION, error_code: 'cannot_write', error: expect.stringMatching(/read-only/) },
    ])
    expect([await readFile(join(photos, 'a.png')), (await stat(path)).mtimeMs]).toEqual([mine, mtimeMs])
    await chmod(path, 0o644)
    expect(await run('alt.jsonl', true, { write: 'xmp' })).toMatchObject({ captioned: 0, kept: 1, errors: 0 })
    expect(await altOf('b.png')).toBe(CAPTION)
    await run('alt.jsonl', true, { write: 'xmp', overwrite: true })
    expect(await altOf('a.png')).toBe(CAPTION)
  })

  test('a picture that is gone when its text is written is an error with its text', async () => {
    const path = await put('a.png', await png(1))
    const answer = async (request: object) => {
      await rm(path)
      return await engine.answer(request)
    }
    const gone = { ...engine, answer } as never
    expect(await run('alt.jsonl', false, { write: 'xmp', engine: gone })).toMatchObject({ errors: 1 })
    expect(await rowsIn('alt.jsonl')).toMatchObject([{ text: CAPTION, error_code: 'cannot_write' }])
  })

  test('what the model does not know is no alt text', async () => {
    await put('a.png', await png(1))
    engine.knows(() => false)
    await run('alt.jsonl', false, { write: 'xmp' })
    expect(await altOf('a.png')).toBeUndefined()
    expect(await rowsIn('alt.jsonl')).toMatchObject([{ unknown: true }])
  })
})

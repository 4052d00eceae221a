// `glimpse caption` on some hundred odd files as a process that is killed twice, and alt text that exiftool reads.

import { execFileSync, spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Row } from '../../src/batch/rows.ts'
import { sha256Hex } from '../../src/hash.ts'
import { glimpse, ROOT } from './glimpse.ts'

const COUNT = 200
/** Ends a test that hangs. */
const HANGS_MS = 600_000
let room: string
let photos: string
beforeEach(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-caption-'))
  photos = join(room, 'photos')
  await mkdir(join(photos, 'below/deeper'), { recursive: true })
})
afterEach(() => rm(room, { recursive: true }))

const rowsOf = (text: string) =>
  text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Row)

/** Pictures of their own content, and files that are odd. Returns the names that must have a row. */
async function fill(): Promise<string[]> {
  const demo = await readFile(join(ROOT, 'models/demo/guitars.png'))
  const [jpeg, webp] = await Promise.all([sharp(demo).jpeg().toBuffer(), sharp(demo).webp().toBuffer()])
  const names: string[] = []
  const put = async (name: string, bytes: Uint8Array | string) => {
    await writeFile(join(photos, name), bytes)
    names.push(name)
  }
  for (let i = 0; i < COUNT; i++) {
    const folder = ['', 'below/', 'below/deeper/'][i % 3]!
    // What follows the end of a picture is not read, and makes its content another.
    const [bytes, ending] = [[demo, 'png'] as const, [jpeg, 'jpg'] as const, [webp, 'webp'] as const][
      i % 7 === 0 ? 1 : i % 11 === 0 ? 2 : 0
    ]!
    await put(`${folder}picture ${i}.${ending}`, Buffer.concat([bytes, Buffer.from(`${i}`)]))
  }
  await put('zero.jpg', '')
  await put('truncated.png', demo.subarray(0, 200))
  await put('truncated.jpg', jpeg.subarray(0, 300))
  await put('text.gif', 'GIF8')
  await put('line\nbreak.png', Buffer.concat([demo, Buffer.from('n')]))
  await put('Ünïcödé 🐕 "quoted", 犬.png', Buffer.concat([demo, Buffer.from('u')]))
  await put('=formula.png', Buffer.concat([demo, Buffer.from('f')]))
  await put('huge.tiff', '')
  await truncate(join(photos, 'huge.tiff'), 3 * 1024 ** 3)
  await put('closed.png', Buffer.concat([demo, Buffer.from('c')]))
  await chmod(join(photos, 'closed.png'), 0)
  await symlink('loop.png', join(photos, 'loop.png'))
  await symlink('nothing', join(photos, 'dangling.jpg'))
  await symlink('zero.jpg', join(photos, 'link.jpg'))
  await symlink(photos, join(photos, 'below/round'))
  return [...names, 'loop.png', 'dangling.jpg', 'link.jpg'].map((name) => join(photos, name)).sort()
}

/** Runs until the file has `more` further whole rows, and kills the process then. */
async function killAfter(out: string, more: number, args: string[]): Promise<Row[]> {
  const read = () => readFile(out, 'utf8').catch(() => '')
  const before = rowsOf(await read()).length
  const child = spawn(
    process.execPath,
    [join(ROOT, 'dist/cli/main.js'), 'caption', photos, '-r', '--out', out, ...args],
    { stdio: 'ignore' },
  )
  const ended = new Promise((resolve) => child.once('close', resolve))
  await expect
    .poll(async () => rowsOf(await read()).length, { timeout: HANGS_MS, interval: 20 })
    .toBeGreaterThan(before + more)
  child.kill('SIGKILL')
  await ended
  return rowsOf(await read())
}

test.each([[[]], [['--write', 'xmp']]])(
  'a folder of odd files, killed twice, with %j',
  async (write: string[]) => {
    const names = await fill()
    const pixels = async (path: string) => sha256Hex(await sharp(path).raw().toBuffer())
    const sample = [join(photos, 'below/picture 7.jpg'), join(photos, 'picture 3.png')]
    const before = await Promise.all(sample.map(pixels))
    const out = join(room, 'alt.jsonl')
    const first = await killAfter(out, 40, write)
    const second = await killAfter(out, 40, [...write, '--resume'])
    const { code, out: said } = await glimpse(['caption', photos, '-r', '--out', out, '--resume', ...write])
    expect(code).toBe(1)
    const rows = rowsOf(await readFile(out, 'utf8'))
    expect(rows.map(({ image }) => image).sort()).toEqual(names)
    const done = (all: Row[]) =>
      new Set(all.flatMap(({ image, text }) => (text === undefined ? [] : [image])))
    const [, captioned, reused] = /(\d+) captioned, (\d+) reused/.exec(said)!.map(Number)
    // Nothing that was done is done again.
    expect(done(second).size).toBeGreaterThan(done(first).size)
    for (const image of done(first)) expect(done(second)).toContain(image)
    expect(reused).toBe(done(second).size)
    expect(captioned).toBe(done(rows).size - done(second).size)
    const isRoot = process.getuid?.() === 0
    const bad = rows
      .filter(({ text }) => text === undefined)
      .map(({ image }) => image.slice(photos.length + 1))
    const expected = [
      'dangling.jpg',
      'huge.tiff',
      'link.jpg',
      'loop.png',
      'text.gif',
      'truncated.jpg',
      'truncated.png',
      'zero.jpg',
    ]
    expect(bad.sort()).toEqual([...expected, ...(isRoot ? [] : ['closed.png'])].sort())
    for (const row of rows)
      expect(Boolean(row.error)).toBe(row.text === undefined || row.error_code === 'cannot_write')

    await rename(join(photos, 'picture 0.jpg'), join(photos, 'renamed.jpg'))
    await writeFile(
      join(photos, 'picture 3.png'),
      await readFile(join(ROOT, 'models/demo/train-on-white.png')),
    )
    const again = await glimpse(['caption', photos, '-r', '--out', out, '--resume', ...write])
    expect(again.out).toMatch(/pictures: 1 captioned/)
    const latest = rowsOf(await readFile(out, 'utf8')).map(({ image }) => image)
    expect(latest).toContain(join(photos, 'renamed.jpg'))
    expect(latest).not.toContain(join(photos, 'picture 0.jpg'))
    if (write.length === 0) return
    expect(await pixels(sample[0]!)).toBe(before[0])
    const left = execFileSync('find', [photos, '-name', '.*']).toString()
    expect(left).toBe('')
  },
  HANGS_MS,
)

test('exiftool reads the alt text, and what it wrote before stays', async () => {
  const exiftool = (...args: string[]) => execFileSync('exiftool', args, { encoding: 'utf8' })
  const demo = await readFile(join(ROOT, 'models/demo/guitars.png'))
  const made = {
    'a.png': demo,
    'b.jpg': await sharp(demo).jpeg().toBuffer(),
    'c.webp': await sharp(demo).webp().toBuffer(),
  }
  for (const [name, bytes] of Object.entries(made)) await writeFile(join(photos, name), bytes)
  const files = Object.keys(made).map((name) => join(photos, name))
  exiftool(
    '-q',
    '-overwrite_original',
    '-XMP-dc:Subject=music',
    '-XMP-photoshop:City=Vigo',
    '-XMP-dc:Description-de=Gitarren',
    '-EXIF:Artist=Ann',
    ...files.slice(0, 2),
  )
  const pixels = () => Promise.all(files.map(async (file) => sha256Hex(await sharp(file).raw().toBuffer())))
  const before = await pixels()
  await glimpse(['caption', photos, '--out', join(room, 'alt.csv'), '--write', 'xmp'])
  expect(await pixels()).toEqual(before)
  for (const file of [...files.slice(0, 2), `${files[2]}.xmp`]) {
    const [tags] = JSON.parse(exiftool('-json', '-XMP:all', '-EXIF:Artist', file)) as Record<
      string,
      unknown
    >[]
    expect(tags).toMatchObject({ AltTextAccessibility: 'five guitars on a green background' })
    if (!file.endsWith('.xmp'))
      expect(tags).toMatchObject({
        Subject: 'music',
        City: 'Vigo',
        Artist: 'Ann',
        'Description-de': 'Gitarren',
      })
    expect(exiftool('-validate', '-s3', file).trim()).toMatch(/^OK/)
  }
  exiftool('-q', '-overwrite_original', '-AltTextAccessibility=By Ann', files[0]!)
  const { out } = await glimpse(['caption', photos, '--out', join(room, 'other.csv'), '--write', 'xmp'])
  expect(out).toMatch("1 with a person's alt text")
  expect(exiftool('-s3', '-AltTextAccessibility', files[0]!).trim()).toBe('By Ann')
})

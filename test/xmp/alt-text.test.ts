// Alt text in pictures' files: what is written, what stays, and what is refused.

import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import sharp from 'sharp'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { planAltText } from '../../src/xmp/alt-text.ts'
import { openJpeg } from '../../src/xmp/jpeg.ts'
import { openPacket } from '../../src/xmp/packet.ts'
import { openPng } from '../../src/xmp/png.ts'

let room: string
beforeEach(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-xmp-'))
})
afterEach(() => rm(room, { recursive: true }))

const picture = (format: 'jpeg' | 'png' | 'webp', xmp?: string) => {
  const made = sharp({ create: { width: 24, height: 16, channels: 3, background: '#a04020' } }).toFormat(
    format,
  )
  return (xmp === undefined ? made : made.withXmp(xmp)).withExif({ IFD0: { Artist: 'Ann' } }).toBuffer()
}
const packetOf = async (file: Uint8Array) => (await sharp(file).metadata()).xmp?.toString() ?? ''
const pixelsOf = (file: Uint8Array) => sharp(file).raw().toBuffer()
const write = async (
  name: string,
  bytes: Uint8Array,
  text: string,
  place: 'xmp' | 'sidecar' = 'xmp',
  more = {},
) => {
  const path = join(room, name)
  await writeFile(path, bytes)
  const plan = await planAltText(path, bytes, text, place, { overwrite: false, own: [], ...more })
  await plan.carryOut()
  return { path, plan, file: await readFile(path) }
}
const rdf = (inside: string, attributes = '') =>
  `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" ${attributes}>${inside}</rdf:Description></rdf:RDF></x:xmpmeta>`
const alt = (...items: string[]) =>
  `<Iptc4xmpCore:AltTextAccessibility><rdf:Alt>${items.join('')}</rdf:Alt></Iptc4xmpCore:AltTextAccessibility>`
const li = (text: string, language = 'x-default') => `<rdf:li xml:lang="${language}">${text}</rdf:li>`

describe.each(['jpeg', 'png'] as const)('into %s', (format) => {
  test('both properties are written, every pixel and all other bytes stay', async () => {
    const before = await picture(format)
    const { file, plan } = await write(`a.${format}`, before, 'A dog & a <cat> "here", 犬 🐕')
    expect(plan.written).toBe('xmp')
    expect(openPacket(Buffer.from(await packetOf(file))).altText).toBe('A dog & a <cat> "here", 犬 🐕')
    expect(await packetOf(file)).toMatch(
      /<dc:description[^>]*><rdf:Alt[^>]*><rdf:li xml:lang="x-default">A dog &amp;/,
    )
    expect(await pixelsOf(file)).toEqual(await pixelsOf(before))
    expect((await sharp(file).metadata()).exif).toEqual((await sharp(before).metadata()).exif)
    // What was there is there, in its order, with one piece between.
    const added = file.length - before.length
    const at = before.findIndex((byte, i) => byte !== file[i])
    expect(
      [0, 1, 2, 3].some((back) =>
        Buffer.concat([file.subarray(0, at - back), file.subarray(at - back + added)]).equals(before),
      ),
    ).toBe(true)
  })

  test('other properties and languages stay, the packet is replaced in its place', async () => {
    const xmp = rdf(
      `${alt(li('ein Hund', 'de'))}<dc:subject><rdf:Bag><rdf:li>pets</rdf:li></rdf:Bag></dc:subject><dc:description><rdf:Alt>${li('Holiday in Spain')}</rdf:Alt></dc:description>`,
      'photoshop:City="Vigo"',
    )
    const { file, plan } = await write(`a.${format}`, await picture(format, xmp), 'a dog', 'xmp', {
      overwrite: true,
    })
    expect(plan.written).toBe('xmp')
    const packet = await packetOf(file)
    expect(packet).toMatch(/photoshop:City="Vigo"/)
    expect(packet).toMatch('<rdf:li>pets</rdf:li>')
    expect(packet).toMatch('<rdf:li xml:lang="de">ein Hund</rdf:li>')
    expect(packet).toMatch(/<rdf:Alt[^>]*><rdf:li xml:lang="x-default">a dog</)
    // A description that a person wrote is not the alt text.
    expect(packet).toMatch('Holiday in Spain')
    const again = await write(`b.${format}`, file, 'a cat', 'xmp', { own: ['a dog'] })
    expect(await packetOf(again.file)).not.toMatch('a dog')
    expect(await packetOf(again.file)).toMatch('a cat')
  })

  test("a person's alt text stays, also in one language only, unless overwriting is asked for", async () => {
    for (const text of [
      alt(li('By Ann')),
      alt(li('von Ann', 'de')),
      '<Iptc4xmpCore:AltTextAccessibility>By Ann</Iptc4xmpCore:AltTextAccessibility>',
    ]) {
      const before = await picture(format, rdf(text))
      const kept = await write(`a.${format}`, before, 'a dog')
      expect([kept.plan.written, kept.file.equals(before)]).toEqual(['kept', true])
      const beside = await write(`b.${format}`, before, 'a dog', 'sidecar')
      expect(beside.plan.written).toBe('kept')
      const { file } = await write(`c.${format}`, before, 'a dog', 'xmp', { overwrite: true })
      expect(openPacket(Buffer.from(await packetOf(file))).altText).toBe('a dog')
    }
  })

  test('an empty alt text is none', async () => {
    const { plan } = await write(`a.${format}`, await picture(format, rdf(alt(li(' ')))), 'a dog')
    expect(plan.written).toBe('xmp')
  })

  test.each([
    ['is not well-formed', '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>'],
    ['has no RDF', '<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'],
    ['has a document type', `<!DOCTYPE a [<!ENTITY e "e">]>${rdf('')}`],
    [
      'is one of several parts',
      rdf('<n:HasExtendedXMP xmlns:n="http://ns.adobe.com/xmp/note/">0</n:HasExtendedXMP>'),
    ],
  ])('XMP that %s is refused, and the file stays', async (_, xmp) => {
    const before = await picture(format, xmp)
    const path = join(room, `a.${format}`)
    await writeFile(path, before)
    await expect(
      planAltText(path, before, 'a dog', 'xmp', { overwrite: true, own: [] }),
    ).rejects.toMatchObject({ code: 'cannot_write' })
    expect(await readFile(path)).toEqual(before)
  })

  test('a file that is cut off is refused at every length', async () => {
    const whole = await picture(format, rdf(''))
    const open = format === 'jpeg' ? openJpeg : openPng
    const end = format === 'jpeg' ? whole.indexOf(Buffer.from([0xff, 0xda])) : whole.length
    for (let length = 8; length < end; length += 7)
      expect(() => open(whole.subarray(0, length))).toThrow(/was left as it is/)
  })
})

test('mode and modification time stay, a link is followed, and nothing is left beside the file', async () => {
  await mkdir(join(room, 'real'))
  const real = join(room, 'real/a.jpg')
  const bytes = await picture('jpeg')
  await writeFile(real, bytes)
  await chmod(real, 0o640)
  await utimes(real, 1_000_000_000, 1_000_000_000)
  await symlink(real, join(room, 'link.jpg'))
  await (
    await planAltText(join(room, 'link.jpg'), bytes, 'a dog', 'xmp', { overwrite: false, own: [] })
  ).carryOut()
  const { mode, mtimeMs } = await stat(real)
  expect([mode & 0o777, mtimeMs]).toEqual([0o640, 1_000_000_000_000])
  expect(await packetOf(await readFile(real))).toMatch('a dog')
  expect(await readdir(room)).toEqual(['link.jpg', 'real'])
  expect(await readdir(join(room, 'real'))).toEqual(['a.jpg'])
})

test('a file that changed meanwhile, or is read-only, stays as it is', async () => {
  const bytes = await picture('jpeg')
  const path = join(room, 'a.jpg')
  await writeFile(path, bytes)
  const plan = await planAltText(path, bytes, 'a dog', 'xmp', { overwrite: false, own: [] })
  await writeFile(path, 'other')
  await expect(plan.carryOut()).rejects.toMatchObject({ code: 'cannot_write' })
  expect(await readFile(path, 'utf8')).toBe('other')
  await writeFile(path, bytes)
  await chmod(path, 0o444)
  const second = await planAltText(path, bytes, 'a dog', 'xmp', { overwrite: false, own: [] })
  await expect(second.carryOut()).rejects.toThrow(/read-only/)
  expect(await readFile(path)).toEqual(bytes)
})

test('other formats get a sidecar, which keeps what another program wrote', async () => {
  const bytes = await picture('webp')
  const { path, plan, file } = await write('a.webp', bytes, 'a dog')
  expect([plan.written, file.equals(bytes)]).toEqual(['sidecar', true])
  expect(openPacket(await readFile(`${path}.xmp`)).altText).toBe('a dog')
  const other = join(room, 'b.png')
  await writeFile(`${other}.xmp`, rdf('<photoshop:City>Vigo</photoshop:City>'))
  await write('b.png', await picture('png'), 'a dog', 'sidecar')
  expect(await readFile(`${other}.xmp`, 'utf8')).toMatch(/Vigo.*a dog/s)
  await writeFile(`${other}.xmp`, rdf(alt(li('By Ann'))))
  for (const place of ['xmp', 'sidecar'] as const) {
    const kept = await write('b.png', await picture('png'), 'a cat', place)
    expect(kept.plan.written).toBe('kept')
  }
})

test('a compressed packet of a PNG is read', async () => {
  const plain = openPng(await picture('png'))
  const file = plain.withPacket(Buffer.from('here'))
  expect(openPng(file).packet?.toString()).toBe('here')
  const at = file.indexOf('XML:com.adobe.xmp') + 'XML:com.adobe.xmp'.length
  const packed = deflateSync(rdf(alt(li('By Ann'))))
  const chunk = Buffer.concat([file.subarray(at - 21, at), Buffer.from([0, 1, 0, 0, 0]), packed])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(chunk.length - 4)
  const start = at - 25
  const end = start + 12 + file.readUInt32BE(start)
  const bytes = Buffer.concat([file.subarray(0, start), length, chunk, Buffer.alloc(4), file.subarray(end)])
  expect(openPacket(openPng(bytes).packet).altText).toBe('By Ann')
})

test('the index of further pictures in a JPEG stays right', async () => {
  const [first, second] = await Promise.all([picture('jpeg'), picture('jpeg')])
  // MP header, one directory with the field 0xB002: two entries of 16 bytes.
  const data = Buffer.alloc(4 + 8 + 2 + 12 + 4 + 32)
  data.write('MPF\0', 0, 'latin1')
  data.write('II*\0', 4, 'latin1')
  data.writeUInt32LE(8, 8)
  data.writeUInt16LE(1, 12)
  data.writeUInt16LE(0xb002, 14)
  data.writeUInt16LE(7, 16)
  data.writeUInt32LE(32, 18)
  data.writeUInt32LE(26, 22)
  const segment = Buffer.concat([Buffer.from([0xff, 0xe2, 0, data.length + 2]), data])
  const place = 2
  const size = first.length + segment.length
  const base = place + 4 + 4
  segment.writeUInt32LE(size, 4 + 4 + 26 + 4)
  segment.writeUInt32LE(second.length, 4 + 4 + 26 + 16 + 4)
  segment.writeUInt32LE(size - base, 4 + 4 + 26 + 16 + 8)
  let file = Buffer.concat([first.subarray(0, place), segment, first.subarray(place), second])
  for (const text of ['a dog', 'a dog and a longer text, so that the packet grows']) {
    const container = openJpeg(file)
    file = container.withPacket(openPacket(container.packet).withAltText(text)) as Buffer<ArrayBuffer>
    const header = file.indexOf('MPF\0') + 4
    const [firstSize, offset] = [file.readUInt32LE(header + 30), file.readUInt32LE(header + 26 + 24)]
    expect(firstSize).toBe(file.length - second.length)
    expect(file.subarray(header + offset)).toEqual(second)
  }
})

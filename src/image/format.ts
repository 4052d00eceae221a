// What a file is, by its first bytes and never by its name. Goes in: bytes. Comes out: one of the formats
// Glimpse reads, or, for the message, words for what it is instead.
//
// Source: the formats' own magic numbers (ISO 15948 5.2, RFC 9649 2.5, GIF89a 17, TIFF 6.0 section 2, the AV1
// image format's `ftyp` brands).

/** Largest accepted picture. Phones and cameras stay below it. */
export const MAX_PICTURE_BYTES = 20 * 1024 * 1024

export type Format = 'jpeg' | 'png' | 'webp' | 'gif' | 'avif' | 'tiff'

/** For people: what may be sent. */
export const ACCEPTED = 'a JPEG, PNG, WebP, GIF, AVIF or TIFF picture'

/** Past this, no magic number of ours, and no HTML or SVG tag worth naming, begins. */
const HEAD_BYTES = 512

/** An `ftyp` box lists its brands in 4 bytes each; a real one has fewer than a dozen. */
const BRANDS_BYTES = 64

export function formatOf(bytes: Uint8Array): Format | undefined {
  const head = latin1(bytes)
  if (head.startsWith('\xff\xd8\xff')) return 'jpeg'
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'png'
  if (head.startsWith('RIFF') && head.startsWith('WEBP', 8)) return 'webp'
  if (/^GIF8[79]a/.test(head)) return 'gif'
  if (/^(II[*+]\0|MM\0[*+])/.test(head) && !head.startsWith('CR', 8)) return 'tiff'
  if (brands(head).some((brand) => /^avi[fs]$/.test(brand))) return 'avif'
  return undefined
}

/** `an HTML page`, `a HEIC picture`: for bytes that formatOf does not know. Never quotes them. */
export function describeBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'an empty file'
  const head = latin1(bytes)
  const markup = head.replace('\xef\xbb\xbf', '').trimStart()
  if (markup.startsWith('<')) return MARKUP.find(([, tag]) => tag.test(markup))?.[0] ?? 'text'
  const fits = (magic: string) => [...magic].every((byte, at) => byte === '?' || byte === head[at])
  const known = MAGIC.find(([, ...magics]) => magics.some(fits))
  if (known) return known[0]
  return isText(bytes) ? 'text' : `an unknown kind of file (${bytes.length} bytes)`
}

const MARKUP: readonly [name: string, tag: RegExp][] = [
  ['an HTML page (a login page, or a link that needs a token)', /<(!doctype html|html|head|body)\b/i],
  ['an SVG drawing', /<svg\b/i],
  ['an XML file', /^<\?xml/],
]

/** The first that fits gives the name; a question mark stands for any byte. */
const MAGIC: readonly [name: string, ...magic: string[]][] = [
  ['a PDF document', '%PDF-'],
  ['an EPS drawing', '%!PS', '\xc5\xd0\xd3\xc6'],
  ['a HEIC picture', '????ftyphe', '????ftypmif1', '????ftypmsf1'],
  ["a camera's raw file", '????ftypcrx ', 'II*\0????CR', 'IIR?\x08', 'IIU\0', 'FUJIFILMCCD', 'FOVb'],
  ['a sound', '????ftypM4?', 'ID3', 'fLaC', 'OggS', 'RIFF????WAVE'],
  ['a video', '????ftyp', '????moov', '????mdat', '\0\0\0\x08wide', '\x1aE\xdf\xa3', 'RIFF????AVI '],
  ['a video', 'FLV\x01', '\0\0\x01\xb3', '\0\0\x01\xba', '0&\xb2u'],
  ['a BMP picture', 'BM????\0\0'],
  ['a JPEG XL picture', '\xff\x0a', '\0\0\0\x0cJXL '],
  ['a JPEG 2000 picture', '\xff\x4f\xff\x51', '\0\0\0\x0cjP  '],
  ['a JPEG XR picture', 'II\xbc\x01'],
  ['a Targa picture', '?\0\x02\0\0\0\0\0', '?\0\x03\0\0\0\0\0', '?\0\x0a\0\0\0\0\0', '?\0\x0b\0\0\0\0\0'],
  ['an icon file', '\0\0\x01\0', '\0\0\x02\0', 'icns'],
  ['a Photoshop file', '8BP'],
  ['a GIMP file', 'gimp xcf'],
  ['a QOI picture', 'qoif'],
  ['a DDS texture', 'DDS |'],
  ['an OpenEXR picture', 'v/1\x01'],
  ['a Radiance HDR picture', '#?RADIANCE', '#?RGBE'],
  ['a PNM picture', 'P1\n', 'P2\n', 'P3\n', 'P4\n', 'P5\n', 'P6\n', 'P7\n'],
  ['a PCX picture', '\x0a\x05\x01'],
  ['a Windows metafile', '\xd7\xcd\xc6\x9a', '\x01\0\0\0???????????????????????????????????? EMF'],
  ['a DjVu document', 'AT&TFORM'],
  ['an office document', '\xd0\xcf\x11\xe0'],
  ['a zip archive', 'PK\x03\x04'],
  ['a gzip archive', '\x1f\x8b'],
]

function isText(bytes: Uint8Array): boolean {
  try {
    // `stream` forgives a character that the end of the head cuts in two.
    const head = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, HEAD_BYTES), {
      stream: true,
    })
    return !/[^\P{Cc}\s]/u.test(head)
  } catch {
    return false
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, HEAD_BYTES)).toString(
    'latin1',
  )
}

/** The brands of an ISO base media file, the major one first; the version between them dropped. */
function brands(head: string): string[] {
  if (!head.startsWith('ftyp', 4)) return []
  const size = (head.charCodeAt(2) << 8) | head.charCodeAt(3)
  return [head.slice(8, 12), ...(head.slice(16, Math.min(size, BRANDS_BYTES)).match(/.{4}/gs) ?? [])]
}

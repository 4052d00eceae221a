// The first bytes of a file -> one of the formats that Glimpse reads, or the name of another kind for an error message.
//
// Source: the formats' own magic numbers (ISO 15948 5.2, RFC 9649 2.5, GIF89a 17, TIFF 6.0 section 2, the AV1
// image format's `ftyp` brands).

/** Pictures of phones and cameras are smaller. */
export const MAX_PICTURE_BYTES = 20 * 1024 * 1024
/** Phones reach 50 million pixels: 150 MB decoded, 200 MB with alpha. */
export const MAX_PIXELS = 50_000_000

export type Format = 'jpeg' | 'png' | 'webp' | 'gif' | 'avif' | 'tiff'

/** For error messages. */
export const ACCEPTED = 'a JPEG, PNG, WebP, GIF, AVIF or TIFF picture'

/** All magic numbers below, and the first tag of HTML and SVG, begin within these bytes. */
const HEAD_BYTES = 512

/** An `ftyp` box lists brands of 4 bytes; a real one has fewer than a dozen. */
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

/** Names the kind of a file that formatOf does not know, such as `a HEIC picture`. Never quotes its bytes. */
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

/** The first match gives the name. A question mark matches any byte. */
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
  // `stream` leaves out an incomplete character at the end. Bytes that are not UTF-8 become U+FFFD.
  const head = new TextDecoder().decode(bytes.subarray(0, HEAD_BYTES), { stream: true })
  return !/\ufffd|[^\P{Cc}\s]/u.test(head)
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(0, HEAD_BYTES)).toString('latin1')
}

/** The brands of an ISO base media file, the major one first, without the version after it. */
function brands(head: string): string[] {
  if (!head.startsWith('ftyp', 4)) return []
  const size = (head.charCodeAt(2) << 8) | head.charCodeAt(3)
  return [head.slice(8, 12), ...(head.slice(16, Math.min(size, BRANDS_BYTES)).match(/.{4}/gs) ?? [])]
}

// What a file is, by its first bytes and never by its name. Goes in: bytes. Comes out: one of the formats
// Glimpse reads, or, for the message, words for what it is instead.
//
// Source: the formats' own magic numbers (ISO 15948 5.2, RFC 9649 2.5, GIF89a 17, TIFF 6.0 section 2, the AV1
// image format's `ftyp` brands).

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
  if (/^(II[*+]\0|MM\0[*+])/.test(head)) return 'tiff'
  if (/^avi[fs]/.test(brands(head)) || /^mi[af]1.*avif/s.test(brands(head))) return 'avif'
  return undefined
}

/** `an HTML page`, `a HEIC picture`: for bytes that formatOf does not know. Never quotes them. */
export function nameOf(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'an empty file'
  const head = latin1(bytes)
  const markup = head.replace('\xef\xbb\xbf', '').trimStart()
  if (markup.startsWith('<')) return MARKUP.find(([, tag]) => tag.test(markup))?.[0] ?? 'text'
  const known = MAGIC.find(([, magic, at = 0]) => head.startsWith(magic, at))
  if (known) return known[0]
  return isText(bytes) ? 'text' : `an unknown kind of file (${bytes.length} bytes)`
}

const MARKUP: readonly [name: string, tag: RegExp][] = [
  ['an HTML page (a login page, or a link that needs a token)', /<(!doctype html|html|head|body)\b/i],
  ['an SVG drawing', /<svg\b/i],
  ['an XML file', /^<\?xml/],
]

const MAGIC: readonly [name: string, magic: string, at?: number][] = [
  ['a PDF document', '%PDF-'],
  ['a HEIC picture', 'ftyphe', 4],
  ['a HEIC picture', 'ftypmif1', 4],
  ['a video', 'ftyp', 4],
  ['a video', '\x1aE\xdf\xa3'],
  ['a video', 'AVI ', 8],
  ['a BMP picture', 'BM'],
  ['a JPEG XL picture', '\xff\x0a'],
  ['a JPEG XL picture', 'JXL ', 4],
  ['a JPEG 2000 picture', 'jP  ', 4],
  ['an icon file', '\0\0\x01\0'],
  ['a Photoshop file', '8BPS'],
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
function brands(head: string): string {
  if (!head.startsWith('ftyp', 4)) return ''
  const size = (head.charCodeAt(2) << 8) | head.charCodeAt(3)
  return head.slice(8, 12) + head.slice(16, Math.min(size, BRANDS_BYTES))
}

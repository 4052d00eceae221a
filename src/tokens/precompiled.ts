// The normalizer `Precompiled` of SentencePiece: text -> text by the checkpoint's own table of characters.
//
// The table is a double array (darts-clone) of UTF-8 texts and their replacements. Each grapheme of less than 6 bytes is
// looked up whole, otherwise each of its characters: spm_precompiled and normalizers/precompiled.rs of the tokenizers
// library. @huggingface/tokenizers applies NFKC instead, which keeps a combining accent that the table drops.

/** Graphemes of this many bytes are looked up by character. */
const LONG_GRAPHEME_BYTES = 6
const GRAPHEMES = new Intl.Segmenter('und', { granularity: 'grapheme' })

/** `charsmap`: base64 of the length of the double array in bytes, the array, and replacements that end with a zero byte. */
export function precompiledNormalizer(charsmap: string): (text: string) => string {
  const bytes = Buffer.from(charsmap, 'base64')
  const size = bytes.length >= 4 ? bytes.readUInt32LE(0) : 0
  if (size === 0 || size % 4 !== 0 || 4 + size > bytes.length) {
    throw new Error(`its precompiled_charsmap of ${bytes.length} bytes has no table`)
  }
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i))
  const replacements = bytes.subarray(4 + size)

  /** The replacement of the shortest text in the table that `text` begins with. */
  const lookUp = (text: Buffer): string | undefined => {
    const start = replacementAt(units, text)
    if (start === undefined) return undefined
    const end = replacements.indexOf(0, start)
    return replacements.toString('utf8', start, end < 0 ? replacements.length : end)
  }
  const normalized = (grapheme: string): string => {
    const own = Buffer.from(grapheme)
    const whole = own.length < LONG_GRAPHEME_BYTES ? lookUp(own) : undefined
    return whole ?? Array.from(grapheme, (one) => lookUp(Buffer.from(one)) ?? one).join('')
  }
  return (text) => Array.from(GRAPHEMES.segment(text), ({ segment }) => normalized(segment)).join('')
}

/** Units: label in bits 0-7 and 31, whether a text ends here in bit 8, distance to the children from bit 9. */
function replacementAt(units: Uint32Array, text: Buffer): number | undefined {
  let place = distanceOf(units[0]!)
  for (const byte of text) {
    if (byte === 0) return undefined
    place ^= byte
    const unit = units[place]
    if (unit === undefined || (unit & 0x800000ff) >>> 0 !== byte) return undefined
    place ^= distanceOf(unit)
    if ((unit >>> 8) & 1) return units[place]! & 0x7fffffff
  }
  return undefined
}

function distanceOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6)
}

// TIFF file -> a copy of which libvips reads the first page correctly, and the colour model of the samples; or an error
// that names what Glimpse does not read. libvips ignores some of the tags.
//
// Source: TIFF 6.0 sections 2, 8, 18, 20, 21 and 23; BigTIFF; Pillow 13 TiffImagePlugin.py `OPEN_INFO` (which samples
// are alpha); libvips 8.18 tiff2vips.c and libtiff 4.7 as sharp builds them (what is decoded, and what is misread).

import { damaged, notAPicture } from './refusal.ts'

export interface Tiff {
  /** The file with one page, and with corrections of the tags that libvips misreads. */
  file: Buffer
  /** The colour model of the samples that libvips returns. */
  colours: 'rgb' | 'inks' | 'lab' | YCbCr
  isTiled: boolean
  /** The index of the alpha channel in the decoded pixels. */
  alphaAt: number | undefined
}

/** The share of each primary in Y, and the codes of black and white for Y, Cb and Cr. */
export interface YCbCr {
  luma: readonly number[]
  range: readonly number[]
}

const TAG = {
  bits: 258,
  compression: 259,
  photometric: 262,
  orientation: 274,
  samples: 277,
  planes: 284,
  palette: 320,
  tileWidth: 322,
  inkSet: 332,
  extraSamples: 338,
  sampleFormat: 339,
  luma: 529,
  subsampling: 530,
  range: 532,
} as const
const TAGS: readonly number[] = Object.values(TAG)

/** Compressions that libtiff in sharp decodes: none, fax, LZW, JPEG, deflate (two numbers), PackBits, WebP. */
const COMPRESSIONS = [1, 2, 3, 4, 5, 7, 8, 32773, 32946, 50001]
const JPEG = 7
const OTHER_COMPRESSIONS: Record<number, string> = {
  6: 'by old-style JPEG',
  34712: 'by JPEG 2000',
  34887: 'by LERC',
  34925: 'by LZMA',
  50000: 'by Zstandard',
  50002: 'by JPEG XL',
}

// Values of PhotometricInterpretation. Values of ExtraSamples: 0 unspecified, 1 premultiplied alpha, 2 alpha.
const RGB = 2
const PALETTE = 3
const INKS = 5
const YCBCR = 6
const LAB = 8
/** Colour samples, and the most extra samples after them. */
const MODELS: Record<number, { colours: number; extras: number }> = {
  0: { colours: 1, extras: 0 }, // grey, 0 is white
  1: { colours: 1, extras: 1 }, // grey, 0 is black
  [RGB]: { colours: 3, extras: 2 },
  [PALETTE]: { colours: 1, extras: 1 },
  [INKS]: { colours: 4, extras: 1 },
  [YCBCR]: { colours: 3, extras: 0 },
  [LAB]: { colours: 3, extras: 0 },
}
/** Corel Draw 10 writes 999 instead of 2. libtiff and Pillow accept it. */
const ALPHA = [1, 2, 999]

/** @throws RequestError `not_a_picture` for a TIFF that Glimpse does not read, `damaged_picture` if it is not a TIFF */
export function readTiff(bytes: Uint8Array): Tiff {
  const file = Buffer.from(bytes)
  const directory = readDirectory(file)
  const values = (tag: number) => directory.get(tag)?.values ?? []
  const value = (tag: number, otherwise: number) => values(tag)[0] ?? otherwise
  const refused = (what: string) => notAPicture(`a TIFF file ${what}`)

  const compression = value(TAG.compression, 1)
  if (!COMPRESSIONS.includes(compression)) {
    throw refused(`compressed ${OTHER_COMPRESSIONS[compression] ?? `in way ${compression}`}`)
  }
  const photometric = values(TAG.photometric)[0]
  if (photometric === undefined) throw damaged('tiff')
  const model = MODELS[photometric]
  if (!model)
    throw refused(`in colours other than grey, RGB, YCbCr, CMYK, L*a*b* or a palette (${photometric})`)
  if (photometric === INKS && value(TAG.inkSet, 1) !== 1) throw refused('in inks other than CMYK')

  const samples = value(TAG.samples, 1)
  const [bits = 1, ...moreBits] = values(TAG.bits)
  if (values(TAG.sampleFormat).some((format) => format !== 1 && format !== 4)) {
    throw refused('of signed or floating-point samples')
  }
  const widths = new Set([bits, ...moreBits])
  if (![1, 2, 4, 8, 16].includes(bits) || widths.size > 1 || (bits < 8 && samples > 1)) {
    throw refused(`of ${samples} x ${[...widths].join(' and ')} bits a pixel`)
  }
  const missing = photometric === RGB && samples === 4 ? [2] : [] // as in Pillow
  const extras = directory.has(TAG.extraSamples) ? values(TAG.extraSamples) : missing
  // With a palette, libvips takes the wrong sample for premultiplied alpha.
  const kinds = photometric === PALETTE ? [0, 2, 999] : [0, ...ALPHA]
  if (
    samples !== model.colours + extras.length ||
    extras.length > model.extras ||
    !extras.every((kind) => kinds.includes(kind))
  ) {
    throw refused(`of ${samples} samples a pixel, not all of them colours`)
  }
  // Without the palette, libtiff would decode the indices as grey.
  if (photometric === PALETTE && directory.get(TAG.palette)?.count !== 3 << bits) throw damaged('tiff')

  const [across = 2, down = 2] = photometric === YCBCR ? values(TAG.subsampling) : [1, 1]
  const isHalved = across > 1 || down > 1
  const isSeparate = samples > 1 && value(TAG.planes, 1) === 2
  const isTiled = directory.has(TAG.tileWidth)
  if (isSeparate && (isTiled || isHalved || model.colours === 1))
    throw refused('of planes that hold one colour each')
  if (isTiled && isHalved && compression !== JPEG) throw refused('of tiles of halved colour') // a broken one is black

  // libvips misreads planes of bits; with one sample a pixel both orders are equal. It fails at unknown orientations.
  if (samples === 1) directory.get(TAG.planes)?.set(1)
  if (![1, 2, 3, 4, 5, 6, 7, 8].includes(value(TAG.orientation, 1))) directory.get(TAG.orientation)?.set(1)
  // libjpeg converts YCbCr, and libtiff converts it if the colour is subsampled.
  const isYCbCr = photometric === YCBCR && !isHalved && (compression !== JPEG || isSeparate)
  // libvips converts L*a*b* in another way, and 16-bit CMYK and YCbCr not at all. It returns RGB samples unchanged.
  if (isYCbCr || photometric === LAB || (photometric === INKS && bits === 16)) {
    directory.get(TAG.photometric)?.set(RGB)
  }
  const [luma, range] = [values(TAG.luma), values(TAG.range)]
  const ycbcr: YCbCr = {
    luma: luma.length === 3 ? luma : [0.299, 0.587, 0.114],
    range: range.length === 6 ? range : [0, 255, 128, 255, 128, 255],
  }
  const colours = isYCbCr ? ycbcr : photometric === LAB ? 'lab' : photometric === INKS ? 'inks' : 'rgb'
  const alpha = extras.findIndex((kind) => ALPHA.includes(kind))
  // Grey and palettes are decoded to three channels.
  return { file, colours, isTiled, alphaAt: alpha < 0 ? undefined : Math.max(model.colours, 3) + alpha }
}

// --- directory ----------------------------------------------------------------------------------------------

interface Entry {
  count: number
  values: number[]
  /** Replaces the values by one small number. */
  set: (value: number) => void
}

/** Bytes of a value by type: unsigned integers, and fractions of two integers. */
const SIZES: Record<number, number> = { 1: 1, 3: 2, 4: 4, 5: 8, 16: 8 }
const SHORT = 3
const FRACTION = 5

/** No tag that is read needs more values. */
const MAX_VALUES = 16

/** The known tags of the first directory; the first of equal tags. Removes the pointer to the next page. */
function readDirectory(file: Buffer): Map<number, Entry> {
  const isLittle = file[0] === 0x49
  /** An unsigned integer of `size` bytes. Throws a RangeError outside the file. */
  const read = (at: number, size: number): number => {
    if (size < 8) return isLittle ? file.readUIntLE(at, size) : file.readUIntBE(at, size)
    return Number(isLittle ? file.readBigUInt64LE(at) : file.readBigUInt64BE(at))
  }
  try {
    const word = read(2, 2) === 43 ? 8 : 4 // BigTIFF
    const start = read(word, word)
    const first = start + (word === 8 ? 8 : 2)
    const end = first + read(start, first - start) * (4 + 2 * word)
    read(end, word)
    file.fill(0, end, end + word)

    const directory = new Map<number, Entry>()
    for (let at = first; at < end; at += 4 + 2 * word) {
      const [tag, type] = [read(at, 2), read(at + 2, 2)]
      const size = SIZES[type]
      if (!size || !TAGS.includes(tag) || directory.has(tag)) continue
      const count = read(at + 4, word)
      const place = at + 4 + word
      const from = count * size > word ? read(place, word) : place
      const valueAt = (value: number) =>
        type === FRACTION ? read(value, 4) / read(value + 4, 4) : read(value, size)
      const values = Array.from({ length: Math.min(count, MAX_VALUES) }, (_, i) => valueAt(from + i * size))
      const set = (value: number) => {
        file.fill(0, at + 2, place)
        // Each number fits into one byte: the first or the last, by the order of bytes.
        file[at + (isLittle ? 2 : 3)] = SHORT
        file[isLittle ? at + 4 : place - 1] = 1
        file.set(isLittle ? [value, 0] : [0, value], place)
      }
      directory.set(tag, { count, values, set })
    }
    return directory
  } catch (cause) {
    throw damaged('tiff', cause)
  }
}

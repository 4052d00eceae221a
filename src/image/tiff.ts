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
  alphaAt?: number
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
/** Colour samples, and the most extra samples after them. With a palette, libvips takes the wrong sample for alpha. */
const MODELS: Record<number, { colours: number; extras: number; premultiplied?: false }> = {
  0: { colours: 1, extras: 0 }, // grey, 0 is white
  1: { colours: 1, extras: 1 }, // grey, 0 is black
  [RGB]: { colours: 3, extras: 2 },
  [PALETTE]: { colours: 1, extras: 1, premultiplied: false },
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
  const { compression, photometric, colourSamples, samples, bits, extras, isSeparate, isTiled, isHalved } =
    samplesOf(directory)

  // libvips misreads planes of bits; with one sample a pixel both orders are equal. It fails at unknown orientations.
  if (samples === 1) directory.get(TAG.planes)?.set(1)
  const orientation = directory.get(TAG.orientation)
  if (orientation && ![1, 2, 3, 4, 5, 6, 7, 8].includes(orientation.values[0]!)) orientation.set(1)

  // libjpeg converts YCbCr, and libtiff converts it if the colour is subsampled.
  const isYCbCr = photometric === YCBCR && !isHalved && (compression !== JPEG || isSeparate)
  // libvips converts L*a*b* in another way, and 16-bit CMYK and YCbCr not at all. It returns RGB samples unchanged.
  if (isYCbCr || photometric === LAB || (photometric === INKS && bits === 16)) {
    directory.get(TAG.photometric)?.set(RGB)
  }
  const luma = directory.get(TAG.luma)?.values
  const range = directory.get(TAG.range)?.values
  const ycbcr: YCbCr = {
    luma: luma?.length === 3 ? luma : [0.299, 0.587, 0.114],
    range: range?.length === 6 ? range : [0, 255, 128, 255, 128, 255],
  }
  const colours = isYCbCr ? ycbcr : photometric === LAB ? 'lab' : photometric === INKS ? 'inks' : 'rgb'
  const alpha = extras.findIndex((kind) => ALPHA.includes(kind))
  const alphaAt = Math.max(colourSamples, 3) + alpha // grey and palettes are decoded to three
  return alpha < 0 ? { file, colours, isTiled } : { file, colours, isTiled, alphaAt }
}

/** The layout of the samples. @throws RequestError if libvips cannot decode it */
function samplesOf(directory: Map<number, Entry>) {
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
  if (
    ![1, 2, 4, 8, 16].includes(bits) ||
    moreBits.some((more) => more !== bits) ||
    (bits < 8 && samples > 1)
  ) {
    throw refused(`of ${samples} x ${[...new Set([bits, ...moreBits])].join(' and ')} bits a pixel`)
  }
  const missing = photometric === RGB && samples === 4 ? [2] : [] // as in Pillow
  const extras = directory.has(TAG.extraSamples) ? values(TAG.extraSamples) : missing
  if (
    samples !== model.colours + extras.length ||
    extras.length > model.extras ||
    extras.some(
      (kind) => !(kind === 0 || ALPHA.includes(kind)) || (kind === 1 && model.premultiplied === false),
    )
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
  const colourSamples = model.colours
  return { compression, photometric, colourSamples, samples, bits, extras, isSeparate, isTiled, isHalved }
}

// --- directory ----------------------------------------------------------------------------------------------

interface Entry {
  count: number
  values: number[]
  /** Replaces the values by one small number. */
  set: (value: number) => void
}

/** Bytes of a value by type: unsigned integers, and fractions of two integers (5). */
const SIZES: Record<number, number> = { 1: 1, 3: 2, 4: 4, 5: 8, 16: 8 }

/** No tag that is read needs more values. */
const MAX_VALUES = 16

/** The known tags of the first directory; the first of equal tags. Removes the pointer to the next page. */
function readDirectory(file: Buffer): Map<number, Entry> {
  try {
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
    const little = file[0] === 0x49
    const isBig = view.getUint16(2, little) === 43
    const word = isBig ? 8 : 4
    const wordAt = (at: number) =>
      isBig ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little)
    const valueAt = (type: number, at: number): number => {
      if (type === 1) return view.getUint8(at)
      if (type === 3) return view.getUint16(at, little)
      if (type === 4) return view.getUint32(at, little)
      if (type === 5) return view.getUint32(at, little) / view.getUint32(at + 4, little)
      return Number(view.getBigUint64(at, little))
    }
    const start = wordAt(word)
    const first = start + (isBig ? 8 : 2)
    const end = first + (isBig ? wordAt(start) : view.getUint16(start, little)) * (4 + 2 * word)
    wordAt(end) // throws a RangeError outside the file, as do the reads below
    file.fill(0, end, end + word)

    const directory = new Map<number, Entry>()
    for (let at = first; at < end; at += 4 + 2 * word) {
      const tag = view.getUint16(at, little)
      const type = view.getUint16(at + 2, little)
      const size = SIZES[type]
      if (!size || !TAGS.includes(tag) || directory.has(tag)) continue
      const count = wordAt(at + 4)
      const place = at + 4 + word
      const from = count * size > word ? wordAt(place) : place
      directory.set(tag, {
        count,
        values: Array.from({ length: Math.min(count, MAX_VALUES) }, (_, i) => valueAt(type, from + i * size)),
        set: (value) => {
          view.setUint16(at + 2, 3, little)
          if (isBig) view.setBigUint64(at + 4, 1n, little)
          else view.setUint32(at + 4, 1, little)
          view.setUint16(place, value, little)
        },
      })
    }
    return directory
  } catch (cause) {
    throw damaged('tiff', cause)
  }
}

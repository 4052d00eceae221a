// Bytes of a picture file -> 8-bit RGB, by sharp (libvips).
//
// Equal to Pillow 13 `Image.open(f).convert("RGB")`, which transformers and LAVIS use; test/image/decode.test.ts
// compares the bytes. Each conversion names its source in Pillow. The exceptions: AVIF (libheif scales subsampled colour
// in its own way and always applies `irot` and `imir`); TIFF in L*a*b* (the tables of Pillow are less exact); and what
// Pillow misreads in TIFF (16-bit grey where 0 is white, palettes of bytes, planes, ranges of YCbCr) and PNG (one
// transparent colour of 2, 4 or 16 bits).

import sharp, { type Metadata, type Sharp } from 'sharp'
import { readAvif } from './avif.ts'
import {
  inksToRgb,
  labToRgb,
  type Raw,
  type Rgb,
  stretchGrey,
  toRgb,
  unpremultiply,
  ycbcrToRgb,
} from './colours.ts'
import { describeBytes, type Format, formatOf, MAX_PICTURE_BYTES, MAX_PIXELS } from './format.ts'
import { type FirstFrame, firstFrame } from './gif.ts'
import { damaged, notAPicture, tooLarge } from './refusal.ts'
import { readTiff } from './tiff.ts'

export interface DecodeOptions {
  /** `white`: composites on white. `drop`: discards the alpha channel. */
  alpha: 'white' | 'drop'
  /** Whether the EXIF orientation is applied. */
  orientation: 'apply' | 'ignore'
  /** 16-bit grey: `high_byte` scales it to 8 bits; `clip`, the default, makes all above 255 white, as Pillow does. */
  grey16?: 'clip' | 'high_byte'
}

/** Exactly the input of transformers, for comparisons with the reference. */
export const AS_TRANSFORMERS: DecodeOptions = { alpha: 'drop', orientation: 'ignore', grey16: 'clip' }

/** What users see: stickers on white, phone pictures upright, 16-bit scans not white. */
export const AS_SEEN: DecodeOptions = { alpha: 'white', orientation: 'apply', grey16: 'high_byte' }

/** The limit of JPEG, above any panorama. libvips works row by row: a picture of 1 x 50 million pixels took 20 s. */
const MAX_SIDE_PIXELS = 65_535

/** CMYK and alpha. A file with more channels is a measurement, not a picture. */
const MAX_CHANNELS = 5

/** 50 million pixels take about 1 s. This stops files that are made to be slow. */
const MAX_DECODE_SECONDS = 20

// Only six loaders of libvips are allowed: no SVG, no PDF, no ImageMagick. Ultra HDR files load as the plain JPEG that
// they also contain, as in Pillow.
sharp.block({ operation: ['VipsForeignLoad'] })
sharp.unblock({
  operation: ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Heif', 'Tiff'].map((name) => `VipsForeignLoad${name}Buffer`),
})
// The stage caches make a cache of pictures useless. The cores are for onnxruntime.
sharp.cache(false)
sharp.concurrency(1)

/**
 * `bytes` are copied for TIFF and AVIF only; do not change them before the promise settles.
 * @throws RequestError `not_a_picture`, `damaged_picture` or `picture_too_large`
 */
export async function decode(bytes: Uint8Array, options: DecodeOptions): Promise<Rgb> {
  const format = formatOf(bytes)
  if (!format) throw notAPicture(describeBytes(bytes))
  if (bytes.length > MAX_PICTURE_BYTES) {
    throw tooLarge(`at most ${MAX_PICTURE_BYTES} bytes but got ${bytes.length}`)
  }
  const tiff = format === 'tiff' ? readTiff(bytes) : undefined
  const avif = format === 'avif' ? readAvif(bytes) : undefined
  const file = (tiff ?? avif)?.file ?? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const header = await readHeader(file, format)
  const frame = format === 'gif' ? firstFrame(bytes) : undefined
  if (frame) refuseTooLarge(frame.canvasWidth, frame.canvasHeight)
  const picture = sharp(file, {
    // Warnings are ignored, because phones write many harmless irregularities. In a tiled TIFF, only `warning` makes
    // libvips fail at a broken tile.
    failOn: tiff?.isTiled ? 'warning' : 'error',
    limitInputPixels: MAX_PIXELS,
    limitInputChannels: MAX_CHANNELS,
    ignoreIcc: true, // as Pillow does
    autoOrient: options.orientation === 'apply' || format === 'tiff', // Pillow always turns TIFF (load_end)
  })
  if (options.grey16 !== 'high_byte' && isGrey16(file, format, header)) {
    return clippedGrey(await readRaw(picture.toColourspace('grey16').raw({ depth: 'ushort' }), format, 1))
  }
  // Of inks, 0 is none, also if the file is inverted. Grey and palettes become RGB; of 16 bits, the high byte.
  const isInks = header.space === 'cmyk'
  const decoded = isInks
    ? await readRaw(picture.pipelineColourspace('cmyk').toColourspace('cmyk').raw(), format, 4)
    : await readRaw(picture.toColourspace('srgb').raw(), format, 3)
  const raw = frame ? onCanvas(decoded, frame, options.alpha) : decoded
  const colours = isInks ? 'inks' : (tiff?.colours ?? 'rgb')
  if (colours === 'inks') inksToRgb(raw)
  else if (colours === 'lab') labToRgb(raw)
  else if (colours !== 'rgb') ycbcrToRgb(raw, colours)
  if (avif?.isLimitedGrey) stretchGrey(raw)
  if (avif?.isPremultiplied && raw.channels === 4) unpremultiply(raw)
  const alphaAt = tiff ? tiff.alphaAt : !isInks && raw.channels === 4 ? 3 : undefined
  return toRgb(raw, options.alpha === 'white' ? alphaAt : undefined)
}

// --- header -------------------------------------------------------------------------------------------------

/** Checks the header before any pixel is decoded. */
async function readHeader(file: Buffer, format: Format): Promise<Metadata> {
  const options = { failOn: 'error', limitInputPixels: false, limitInputChannels: false } as const
  const header = await sharp(file, options)
    .metadata()
    .catch((cause: unknown) => {
      throw unreadable(format, cause)
    })
  const { width, height, channels, depth, space } = header
  if (!(width >= 1 && height >= 1)) throw damaged(format)
  refuseTooLarge(width, height)
  const eight = depth === 'uchar'
  const sixteen = depth === 'ushort' && (space === 'rgb16' || space === 'grey16')
  if (channels > MAX_CHANNELS || !(eight || sixteen)) {
    throw notAPicture(`a ${format.toUpperCase()} file of ${channels} ${depth} channels (${space})`)
  }
  return header
}

function refuseTooLarge(width: number, height: number): void {
  if (Math.max(width, height) > MAX_SIDE_PIXELS) {
    throw tooLarge(`sides of at most ${MAX_SIDE_PIXELS} pixels but got ${width} x ${height}`)
  }
  if (width * height > MAX_PIXELS) throw tooLarge(`at most ${MAX_PIXELS} pixels but got ${width} x ${height}`)
}

/** Grey of 16 bits that Pillow reads as mode I;16. It reads grey with alpha as RGBA. */
function isGrey16(file: Buffer, format: Format, header: Metadata): boolean {
  if (header.space !== 'grey16') return false
  const pngColourType = 25 // signature 8, IHDR length and name 8, width 4, height 4, depth 1
  return format === 'png' ? file[pngColourType] === 0 : format === 'tiff' && header.channels === 1
}

// --- pixels -------------------------------------------------------------------------------------------------

/** Samples of `channelsAtLeast` channels or more. */
async function readRaw(picture: Sharp, format: Format, channelsAtLeast: number): Promise<Raw> {
  const { data, info } = await picture
    .timeout({ seconds: MAX_DECODE_SECONDS })
    .toBuffer({ resolveWithObject: true })
    .catch((cause: unknown) => {
      if (!(cause instanceof Error && cause.message.includes('timeout'))) throw unreadable(format, cause)
      throw tooLarge(`a picture that decodes in ${MAX_DECODE_SECONDS} s but got a slower one`, cause)
    })
  const { width, height, channels } = info
  if (channels < channelsAtLeast) throw notAPicture(`a ${format.toUpperCase()} file of ${channels} channels`)
  return { width, height, channels, data: new Uint8ClampedArray(data.buffer, data.byteOffset, data.length) }
}

/** Classifies a decoder's error: a kind of JPEG that libjpeg does not support, or a damaged file. */
function unreadable(format: Format, cause: unknown): Error {
  const isOtherKind = cause instanceof Error && /VipsJpeg: Unsupported (JPEG|marker)/.test(cause.message)
  return isOtherKind
    ? notAPicture('a JPEG file of 12 bits, or of another rare kind', cause)
    : damaged(format, cause)
}

/** 16-bit grey to RGB as Pillow converts I;16: not scaled, clipped at 255. */
function clippedGrey({ width, height, channels, data }: Raw): Rgb {
  const grey = new Uint16Array(data.buffer, data.byteOffset, data.length / 2)
  const rgb = new Uint8Array(width * height * 3)
  for (let from = 0, to = 0; to < rgb.length; from += channels, to += 3) {
    rgb.fill(Math.min(grey[from]!, 255), to, to + 3)
  }
  return { width, height, data: rgb }
}

/** Puts the first frame of a GIF on its canvas. The background is Pillow's colour if alpha is dropped, else white. */
function onCanvas(decoded: Raw, frame: FirstFrame, alpha: DecodeOptions['alpha']): Raw {
  const { canvasWidth: width, canvasHeight: height } = frame
  const { channels, data: pixels } = decoded
  const right = Math.min(frame.left + frame.width, decoded.width)
  const bottom = Math.min(frame.top + frame.height, decoded.height)
  const background = Uint8Array.from(alpha === 'white' ? [255, 255, 255] : frame.behind)
  const data = new Uint8ClampedArray(Buffer.alloc(width * height * 3, background))
  for (let y = frame.top; y < bottom; y++) {
    for (let x = frame.left; x < right; x++) {
      const from = (y * decoded.width + x) * channels
      if (channels > 3 && pixels[from + 3] === 0) continue
      const to = (y * width + x) * 3
      for (let c = 0; c < 3; c++) data[to + c] = pixels[from + c]!
    }
  }
  return { width, height, channels: 3, data }
}

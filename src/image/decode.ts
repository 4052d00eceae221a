// A picture's file to 8-bit RGB, by sharp (libvips), which is used only here. Goes in: the bytes as they came.
// Comes out: Rgb, or an RequestError with code not_a_picture, damaged_picture or picture_too_large.
//
// Source: what Pillow 13 `Image.open(f).convert("RGB")` gives, which is what transformers and LAVIS see. The
// conversions below name the line of Pillow they follow; test/image/decode.test.ts compares with Pillow's bytes.
// Not equal to Pillow: AVIF, whose halved colour libheif draws out to full size in its own way and whose `irot`
// and `imir` turns it always makes; TIFF in L*a*b*, whose colours Pillow's tables make less exact; and what Pillow
// itself misreads of TIFF (16-bit grey where 0 is white, palettes of bytes, planes, ranges of YCbCr) and of PNG (one
// see-through colour of 2, 4 or 16 bits).

import sharp, { type Metadata, type Sharp } from 'sharp'
import { isGlimpseError } from '../errors.ts'
import { type Avif, readAvif } from './avif.ts'
import {
  compositeOnWhite,
  inksToRgb,
  labToRgb,
  type Raw,
  stretchGrey,
  unpremultiply,
  withoutAlpha,
  ycbcrToRgb,
} from './colours.ts'
import { describeBytes, type Format, formatOf, MAX_PICTURE_BYTES } from './format.ts'
import { type FirstFrame, firstFrame } from './gif.ts'
import { damaged, notAPicture, tooLarge } from './refusal.ts'
import { readTiff, type Tiff } from './tiff.ts'

/** Rows from the top, pixels from the left, red, green, blue: `data[(y * width + x) * 3 + channel]`. */
export interface Rgb {
  width: number
  height: number
  data: Uint8Array
}

export interface DecodeOptions {
  /** `white`: see-through pixels show white paper. `drop`: the alpha channel is thrown away. */
  alpha: 'white' | 'drop'
  /** Whether the camera's note on which way is up (EXIF) is obeyed. */
  orientation: 'apply' | 'ignore'
  /** 16-bit grey: `high_byte` keeps the picture; `clip`, the default, makes all above 255 white, as Pillow does. */
  grey16?: 'clip' | 'high_byte'
}

/** What transformers feeds the model, to the letter: for comparing with the reference. */
export const AS_TRANSFORMERS: DecodeOptions = { alpha: 'drop', orientation: 'ignore', grey16: 'clip' }

/** What a person in the chat sees: stickers on white, phone pictures upright, 16-bit scans not white. */
export const AS_SEEN: DecodeOptions = { alpha: 'white', orientation: 'apply', grey16: 'high_byte' }

/** Today's phones reach 50 million pixels; decoded that is 150 MB, 200 MB while alpha is still there. */
export const MAX_PIXELS = 50_000_000

/**
 * JPEG's own limit, and more than any panorama has. libvips goes through a picture row by row: one of 1 x 50 million
 * took 20 s.
 */
export const MAX_SIDE_PIXELS = 65_535

/** Colour, black and alpha: a file with more bands is a measurement, not a picture. */
const MAX_CHANNELS = 5

/** 50 million pixels take about 1 s; a file made to be slow is stopped here. */
const MAX_DECODE_SECONDS = 20

// Of libvips' many loaders only six can run, whatever bytes come: no SVG, no PDF, no ImageMagick. Ultra HDR
// files then load as the plain JPEG they also are, which is what Pillow reads.
sharp.block({ operation: ['VipsForeignLoad'] })
sharp.unblock({
  operation: ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Heif', 'Tiff'].map((name) => `VipsForeignLoad${name}Buffer`),
})
// No picture comes twice through here (answers are remembered elsewhere), and the cores belong to onnxruntime.
sharp.cache(false)
sharp.concurrency(1)

/** Reads a picture. The bytes are not copied, but for TIFF and AVIF: leave them alone until the promise settles. */
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
  const turn = options.orientation === 'apply' || format === 'tiff' // Pillow itself turns TIFF (load_end)

  const picture = open(file, turn, tiff?.isTiled ?? false)

  if (options.grey16 !== 'high_byte' && isGrey16(file, format, header)) {
    return clippedGrey(await readGrey16(picture, format))
  }
  const isInks = header.space === 'cmyk'
  const decoded = await (isInks ? readInks(picture, format) : readRgb(picture, format))
  const raw = frame ? onCanvas(decoded, frame, options.alpha) : decoded
  convert(raw, isInks ? 'inks' : (tiff?.colours ?? 'rgb'), avif)
  const alphaAt = tiff ? tiff.alphaAt : !isInks && raw.channels === 4 ? 3 : undefined
  return options.alpha === 'white' && alphaAt !== undefined
    ? compositeOnWhite(raw, alphaAt)
    : withoutAlpha(raw)
}

function convert(raw: Raw, colours: Tiff['colours'], avif: Avif | undefined): void {
  if (colours === 'inks') inksToRgb(raw)
  else if (colours === 'lab') labToRgb(raw)
  else if (colours !== 'rgb') ycbcrToRgb(raw, colours)
  if (avif?.isLimitedGrey) stretchGrey(raw)
  if (avif?.isPremultiplied && raw.channels === 4) unpremultiply(raw)
}

// --- header -------------------------------------------------------------------------------------------------

/** Checks everything the header promises before any pixel is decoded. */
async function readHeader(file: Buffer, format: Format): Promise<Metadata> {
  let header: Metadata
  try {
    header = await sharp(file, {
      failOn: 'error',
      limitInputPixels: false,
      limitInputChannels: false,
    }).metadata()
  } catch (cause) {
    throw unreadable(format, cause)
  }
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

/** Grey of 16 bits that Pillow reads as mode I;16. Grey with an alpha channel it reads as RGBA instead. */
function isGrey16(file: Buffer, format: Format, header: Metadata): boolean {
  if (header.space !== 'grey16') return false
  const pngColourType = 25 // signature 8, IHDR length and name 8, width 4, height 4, depth 1
  return format === 'png' ? file[pngColourType] === 0 : format === 'tiff' && header.channels === 1
}

// --- pixels -------------------------------------------------------------------------------------------------

function open(file: Buffer, turn: boolean, isTiledTiff: boolean): Sharp {
  return sharp(file, {
    // `truncated` and `error` end in an error; a warning does not, as phones write many harmless oddities. In the tiles
    // of a TIFF libvips ignores both errors and warnings, except that at `warning` a tile that fails ends in an error.
    failOn: isTiledTiff ? 'warning' : 'error',
    limitInputPixels: MAX_PIXELS,
    limitInputChannels: MAX_CHANNELS,
    ignoreIcc: true, // as Pillow does: numbers as they stand in the file
    autoOrient: turn,
  }).timeout({ seconds: MAX_DECODE_SECONDS })
}

/** Grey becomes three equal channels, a palette its colours, 16 bits their high byte. Three channels or more. */
function readRgb(picture: Sharp, format: Format): Promise<Raw> {
  return readRaw(picture.toColourspace('srgb').raw(), format, 3)
}

/** Cyan, magenta, yellow and black, 0 for no ink, whichever way round the file has them. */
function readInks(picture: Sharp, format: Format): Promise<Raw> {
  return readRaw(picture.pipelineColourspace('cmyk').toColourspace('cmyk').raw(), format, 4)
}

/** Two bytes each. */
function readGrey16(picture: Sharp, format: Format): Promise<Raw> {
  return readRaw(picture.toColourspace('grey16').raw({ depth: 'ushort' }), format, 1)
}

async function readRaw(picture: Sharp, format: Format, channelsAtLeast: number): Promise<Raw> {
  try {
    const { data, info } = await picture.toBuffer({ resolveWithObject: true })
    if (info.channels < channelsAtLeast) {
      throw notAPicture(`a ${format.toUpperCase()} file of ${info.channels} channels`)
    }
    return { width: info.width, height: info.height, channels: info.channels, data }
  } catch (cause) {
    if (isGlimpseError(cause)) throw cause
    if (cause instanceof Error && cause.message.includes('timeout')) {
      throw tooLarge(`a picture that decodes in ${MAX_DECODE_SECONDS} s but got a slower one`, cause)
    }
    throw unreadable(format, cause)
  }
}

/** What a decoder could not read: a kind it does not know, by libjpeg's words, or a damaged file. */
function unreadable(format: Format, cause: unknown): Error {
  const isOtherKind = cause instanceof Error && /VipsJpeg: Unsupported (JPEG|marker)/.test(cause.message)
  return isOtherKind
    ? notAPicture('a JPEG file of 12 bits, or of another rare kind', cause)
    : damaged(format, cause)
}

/** 16-bit grey as Pillow's I;16 becomes RGB: not scaled, clipped at 255. */
function clippedGrey(raw: Raw): Rgb {
  const { width, height, channels } = raw
  const grey = new Uint16Array(raw.data.buffer, raw.data.byteOffset, raw.data.length / 2)
  const data = new Uint8Array(width * height * 3)
  for (let from = 0, to = 0; to < data.length; from += channels, to += 3) {
    data.fill(Math.min(grey[from]!, 255), to, to + 3)
  }
  return { width, height, data }
}

/** A GIF's first frame in its place; around and behind it Pillow's colour when alpha is dropped, else white. */
function onCanvas(decoded: Raw, frame: FirstFrame, alpha: DecodeOptions['alpha']): Raw {
  const { canvasWidth: width, canvasHeight: height } = frame
  const { channels } = decoded
  const [red, green, blue] = alpha === 'white' ? [255, 255, 255] : frame.behind
  const right = Math.min(frame.left + frame.width, decoded.width)
  const bottom = Math.min(frame.top + frame.height, decoded.height)
  const data = Buffer.alloc(width * height * 3)
  for (let y = 0, to = 0; y < height; y++) {
    const rowIsIn = y >= frame.top && y < bottom
    for (let x = 0; x < width; x++, to += 3) {
      const from = (y * decoded.width + x) * channels
      const isIn = rowIsIn && x >= frame.left && x < right && (channels === 3 || decoded.data[from + 3] !== 0)
      data[to] = isIn ? decoded.data[from]! : red
      data[to + 1] = isIn ? decoded.data[from + 1]! : green
      data[to + 2] = isIn ? decoded.data[from + 2]! : blue
    }
  }
  return { width, height, channels: 3, data }
}

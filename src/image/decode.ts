// A picture's file to 8-bit RGB, by sharp (libvips), which is used only here. Goes in: the bytes as they came.
// Comes out: Rgb, or an AskError with code not_a_picture, damaged_picture or picture_too_large.
//
// Source: what Pillow 13 `Image.open(f).convert("RGB")` gives, which is what transformers and LAVIS see. The
// conversions below name the line of Pillow they follow; test/image/decode.test.ts compares with Pillow's bytes.
// Not equal to Pillow: AVIF, whose halved colour libheif draws out to full size in its own way and whose `irot`
// and `imir` turns it always makes; TIFF with premultiplied alpha or in LAB, which are read but not compared.

import sharp, { type Metadata, type Sharp } from 'sharp'
import { AskError, isKnown } from '../errors.ts'
import { ACCEPTED, type Format, formatOf, nameOf } from './format.ts'
import { type FirstFrame, firstFrame } from './gif.ts'
import { MAX_PICTURE_BYTES } from './limits.ts'

/** Rows from the top, pixels from the left, red, green, blue: `data[(y * width + x) * 3 + channel]`. */
export interface Rgb {
  width: number
  height: number
  data: Uint8Array
}

export interface PictureRule {
  /** `white`: see-through pixels show white paper. `drop`: the alpha channel is thrown away. */
  alpha: 'white' | 'drop'
  /** Whether the camera's note on which way is up (EXIF) is obeyed. */
  orientation: 'apply' | 'ignore'
  /** 16-bit grey: `high_byte` keeps the picture; `clip`, the default, makes all above 255 white, as Pillow does. */
  deepGrey?: 'clip' | 'high_byte'
}

/** What transformers feeds the model, to the letter: for comparing with the reference. */
export const AS_TRANSFORMERS: PictureRule = { alpha: 'drop', orientation: 'ignore', deepGrey: 'clip' }

/** What a person in the chat sees: stickers on white, phone pictures upright, 16-bit scans not white. */
export const AS_SEEN: PictureRule = { alpha: 'white', orientation: 'apply', deepGrey: 'high_byte' }

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

/** Reads a picture. The bytes are not copied: leave them alone until the promise settles. */
export async function decode(bytes: Uint8Array, rule: PictureRule): Promise<Rgb> {
  const format = formatOf(bytes)
  if (!format) throw notAPicture(nameOf(bytes))
  if (bytes.length > MAX_PICTURE_BYTES) {
    throw tooLarge(`at most ${MAX_PICTURE_BYTES} bytes but got ${bytes.length}`)
  }
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const header = await readHeader(file, format)
  const frame = format === 'gif' ? firstFrame(bytes) : undefined
  if (frame) refuseTooLarge(frame.canvasWidth, frame.canvasHeight)
  const turn = rule.orientation === 'apply' || format === 'tiff' // Pillow itself turns TIFF (load_end)

  const picture = open(file, turn)

  if (header.space === 'cmyk') return inksToRgb(await readInks(picture, format))
  if (rule.deepGrey !== 'high_byte' && isDeepGrey(file, format, header)) {
    return clippedGrey(await readDeepGrey(picture, format))
  }
  const decoded = await readRgb(picture, format)
  const rgb = frame ? onCanvas(decoded, frame, rule.alpha) : decoded
  return rule.alpha === 'white' ? onWhite(rgb) : withoutAlpha(rgb)
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
    throw damaged(format, cause)
  }
  const { width, height, channels, depth, space } = header
  if (!(width >= 1 && height >= 1)) throw damaged(format, undefined)
  refuseTooLarge(width, height)
  if (format === 'avif' && header.compression !== 'av1') throw notAPicture('a HEIC picture')
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
function isDeepGrey(file: Buffer, format: Format, header: Metadata): boolean {
  if (header.space !== 'grey16') return false
  const pngColourType = 25 // signature 8, IHDR length and name 8, width 4, height 4, depth 1
  return format === 'png' ? file[pngColourType] === 0 : format === 'tiff' && header.channels === 1
}

// --- pixels -------------------------------------------------------------------------------------------------

interface Raw {
  width: number
  height: number
  channels: number
  data: Buffer
}

function open(file: Buffer, turn: boolean): Sharp {
  return sharp(file, {
    // `truncated` and `error` end in an error; a warning does not, as phones write many harmless oddities.
    failOn: 'error',
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
function readDeepGrey(picture: Sharp, format: Format): Promise<Raw> {
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
    if (isKnown(cause)) throw cause
    if (cause instanceof Error && cause.message.includes('timeout')) {
      throw tooLarge(`a picture that decodes in ${MAX_DECODE_SECONDS} s but got a slower one`, cause)
    }
    throw damaged(format, cause)
  }
}

/** Inks to light without a profile: `255 - k`, less the same share of each ink (Pillow Convert.c `cmyk2rgb`). */
function inksToRgb(raw: Raw): Rgb {
  const { data, channels } = raw
  for (let from = 0, to = 0; from < data.length; from += channels, to += 3) {
    const light = 255 - data[from + 3]!
    for (let c = 0; c < 3; c++) data[to + c] = light - by255(data[from + c]! * light)
  }
  return rgbOf(raw)
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

// --- alpha --------------------------------------------------------------------------------------------------
// Both walk forward in the one buffer, writing 3 bytes where at least 3 were read: no second picture in memory.

function withoutAlpha(raw: Raw): Rgb {
  const { data, channels } = raw
  if (channels === 3) return rgbOf(raw)
  for (let from = 0, to = 0; from < data.length; from += channels, to += 3) {
    data[to] = data[from]!
    data[to + 1] = data[from + 1]!
    data[to + 2] = data[from + 2]!
  }
  return rgbOf(raw)
}

/** As Pillow's `white.paste(picture, mask=alpha)` (Paste.c, BLEND). */
function onWhite(raw: Raw): Rgb {
  const { data, channels } = raw
  if (channels === 3) return rgbOf(raw)
  for (let from = 0, to = 0; from < data.length; from += channels, to += 3) {
    const alpha = data[from + 3]!
    const paper = 255 * (255 - alpha)
    for (let c = 0; c < 3; c++) data[to + c] = by255(data[from + c]! * alpha + paper)
  }
  return rgbOf(raw)
}

/** A GIF's first frame in its place; around and behind it Pillow's colour when alpha is dropped, else white. */
function onCanvas(decoded: Raw, frame: FirstFrame, alpha: PictureRule['alpha']): Raw {
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

/** Divided by 255 and rounded, for 0 to 65025 (Pillow ImagingUtils.h `DIV255`). */
function by255(product: number): number {
  const half = product + 128
  return (half + (half >> 8)) >> 8
}

function rgbOf(raw: Raw): Rgb {
  const { width, height, data } = raw
  return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, width * height * 3) }
}

// --- errors -------------------------------------------------------------------------------------------------

function notAPicture(got: string): AskError {
  return new AskError('not_a_picture', `Expected ${ACCEPTED} but got ${got}. Send it as JPEG or PNG.`)
}

function damaged(format: Format, cause: unknown): AskError {
  const message = `Expected a whole ${format.toUpperCase()} picture but got one that is cut off or damaged. Save it anew and send it again.`
  return new AskError('damaged_picture', message, { cause })
}

function tooLarge(what: string, cause?: unknown): AskError {
  return new AskError('picture_too_large', `Expected ${what}. Send a smaller copy.`, { cause })
}

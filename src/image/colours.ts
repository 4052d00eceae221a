// Decoded samples of other colour models, and alpha: Raw -> RGB in the first three channels of the same buffer, and at
// the end Rgb.

import type { YCbCr } from './tiff.ts'

/** `channels` bytes a pixel, rows from the top. */
export interface Raw {
  width: number
  height: number
  channels: number
  data: Uint8ClampedArray<ArrayBufferLike>
}

/** Rows from the top, pixels from the left, red, green, blue: `data[(y * width + x) * 3 + channel]`. */
export interface Rgb {
  width: number
  height: number
  data: Uint8Array
}

/** CMYK to RGB without a profile: (255 - k) times (255 - ink) / 255 (Pillow Convert.c `cmyk2rgb`). */
export function inksToRgb({ data, channels }: Raw): void {
  for (let at = 0; at < data.length; at += channels) {
    const light = 255 - data[at + 3]!
    for (let c = at; c < at + 3; c++) data[c] = light - by255(data[c]! * light)
  }
}

/** As `TIFFYCbCrtoRGB` of libtiff (tif_color.c), through which Pillow reads these files. */
export function ycbcrToRgb({ data: pixels, channels }: Raw, { luma, range }: YCbCr): void {
  const [ofRed, ofGreen, ofBlue] = luma as [number, number, number]
  const codes = (black: number, white: number, reach: number) =>
    Int32Array.from({ length: 256 }, (_, code) => ((code - black) * reach) / (white - black || 1))
  const light = codes(range[0]!, range[1]!, 255)
  const blueness = codes(range[2]!, range[3]!, 127)
  const redness = codes(range[4]!, range[5]!, 127)
  for (let at = 0; at < pixels.length; at += channels) {
    const y = light[pixels[at]!]!
    const blue = (2 - 2 * ofBlue) * blueness[pixels[at + 1]!]!
    const red = (2 - 2 * ofRed) * redness[pixels[at + 2]!]!
    pixels[at] = y + Math.round(red)
    pixels[at + 1] = y + Math.round(-(red * ofRed + blue * ofBlue) / ofGreen)
    pixels[at + 2] = y + Math.round(blue)
  }
}

/** Entries of the table of sRGB's curve, whose steepest part rises by 0.2 codes an entry. */
const LIGHTS = 2 ** 14

/**
 * CIE 1976 L*a*b* under D50, a and b signed, to sRGB under D65 (Bradford). Pillow uses profiles; the difference is below
 * 2 on average.
 */
export function labToRgb({ data: pixels, channels }: Raw): void {
  const signed = new Int8Array(pixels.buffer, pixels.byteOffset, pixels.length)
  const linear = (f: number) => (f > 6 / 29 ? f * f * f : (108 / 841) * (f - 4 / 29))
  const coded = Uint8ClampedArray.from({ length: LIGHTS + 1 }, (_, i) => {
    const light = i / LIGHTS
    return 255 * (light <= 0.0031308 ? 12.92 * light : 1.055 * light ** (1 / 2.4) - 0.055)
  })
  const code = (light: number) => coded[Math.min(Math.max(Math.round(light * LIGHTS), 0), LIGHTS)]!
  for (let at = 0; at < pixels.length; at += channels) {
    const f = ((pixels[at]! / 255) * 100 + 16) / 116
    const x = 0.9642 * linear(f + signed[at + 1]! / 500)
    const y = linear(f)
    const z = 0.8249 * linear(f - signed[at + 2]! / 200)
    pixels[at] = code(3.1338561 * x - 1.6168667 * y - 0.4906146 * z)
    pixels[at + 1] = code(-0.9787684 * x + 1.9161415 * y + 0.033454 * z)
    pixels[at + 2] = code(0.0719453 * x - 0.2289914 * y + 1.4052427 * z)
  }
}

/** Scales grey from 16..235 to 0..255. */
export function stretchGrey({ data: pixels, channels }: Raw): void {
  for (let at = 0; at < pixels.length; at += channels) {
    const grey = ((pixels[at]! - 16) * 255) / 219
    for (let c = at; c < at + 3; c++) pixels[c] = grey
  }
}

/** Divides the colours by alpha, the fourth channel. */
export function unpremultiply({ data: pixels, channels }: Raw): void {
  for (let at = 0; at < pixels.length; at += channels) {
    const scale = 255 / pixels[at + 3]! // at alpha 0 the product is NaN, which is stored as 0
    for (let c = at; c < at + 3; c++) pixels[c] = pixels[c]! * scale
  }
}

/**
 * The first three channels, in the same buffer. With `alphaAt`, the channel of alpha, they are composited on white as by
 * Pillow's `white.paste(picture, mask=alpha)` (Paste.c, BLEND).
 */
export function toRgb({ width, height, channels, data }: Raw, alphaAt?: number): Rgb {
  for (let from = 0, to = 0; channels > 3 && from < data.length; from += channels, to += 3) {
    const alpha = alphaAt === undefined ? 255 : data[from + alphaAt]!
    const paper = 255 * (255 - alpha)
    for (let c = 0; c < 3; c++) data[to + c] = by255(data[from + c]! * alpha + paper)
  }
  return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, width * height * 3) }
}

/** Divides 0..65025 by 255, rounded (Pillow ImagingUtils.h `DIV255`). */
function by255(product: number): number {
  const half = product + 128
  return (half + (half >> 8)) >> 8
}

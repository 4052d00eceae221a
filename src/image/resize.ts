// Rgb, a size and the number of a filter -> Rgb of that size, bit for bit equal to Pillow.
//
// Source: Pillow src/libImaging/Resample.c (the filters; weights in 22-bit fixed point; one axis, then the
// other, rounded to 8 bits in between) and Geometry.c `ImagingScaleAffine` (nearest), as of Pillow 13. When shrinking, a
// filter is stretched by the ratio of the sizes, so each source pixel counts and there is no aliasing. The kernels of
// sharp and the bicubic filter of a canvas have other results.

import type { Rgb } from './colours.ts'

/** Numbers of PIL.Image.Resampling, which `resample` in preprocessor_config.json uses. */
const NEAREST = 0
const LANCZOS = 1
const BILINEAR = 2
export const BICUBIC = 3
const BOX = 4
export const HAMMING = 5

export type Resample = 0 | 1 | 2 | 3 | 4 | 5

interface Filter {
  /** Radius, in pixels of the smaller picture. */
  support: number
  /** By distance, which is negative to the left. */
  weight: (x: number) => number
}

// The order of operations is Pillow's. Another order would round differently.
const FILTERS: Record<Exclude<Resample, typeof NEAREST>, Filter> = {
  [LANCZOS]: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
  [BILINEAR]: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  [BICUBIC]: { support: 2, weight: (x) => bicubic(Math.abs(x)) },
  [BOX]: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  [HAMMING]: { support: 1, weight: (x) => hamming(Math.abs(x)) },
}

/** Keys' cubic convolution. */
function bicubic(x: number): number {
  const a = -0.5
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
}

function hamming(x: number): number {
  if (x === 0 || x >= 1) return x === 0 ? 1 : 0
  // 0.54 and 0.46 are C floats in Pillow.
  return sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI))
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI)
}

/** Of 32 bits, 8 are for the result and 2 for the overshoot of negative weights. */
const PRECISION_BITS = 32 - 8 - 2
const ONE = 1 << PRECISION_BITS
const HALF = 1 << (PRECISION_BITS - 1)

/** Pillow's `Image.resize((width, height), resample)`. Returns a copy if the size is the same. */
export function resize(rgb: Rgb, width: number, height: number, resample: Resample): Rgb {
  if (rgb.data.length !== rgb.width * rgb.height * 3 || !(width >= 1 && height >= 1)) {
    throw new RangeError(
      `Expected ${rgb.width} x ${rgb.height} x 3 bytes and a positive size but got ${rgb.data.length} bytes and ${width} x ${height}`,
    )
  }
  const across = (from: Rgb) => (from.width === width ? from : resizeRows(from, taps(from.width, width)))
  const down = (from: Rgb) => (from.height === height ? from : resizeColumns(from, taps(from.height, height)))
  const taps = (from: number, to: number) =>
    resample === NEAREST ? nearestTaps(from, to) : tapsOf(from, to, FILTERS[resample])
  const resized = rowsGoFirst(rgb, width, height) ? across(down(rgb)) : down(across(rgb))
  return resized === rgb ? { ...rgb, data: rgb.data.slice() } : resized
}

/**
 * Pillow 13 (python-pillow/Pillow#9549) shrinks the height first if it loses much more height than width. Values are
 * rounded between the two passes, so the order changes some results by one. Found by comparing 1500 sizes with Pillow
 * 13.0.0; Pillow 12 and older always begin with the width.
 */
function rowsGoFirst(rgb: Rgb, width: number, height: number): boolean {
  return height < rgb.height && rgb.height - height > 2 * (rgb.width - width)
}

/** For each output pixel: its first source pixel, the number of source pixels, and their weights. */
interface Taps {
  first: Int32Array // [out]
  count: Int32Array // [out]
  /** Row length of `weights`: the largest number of weights of an output pixel. */
  stride: number
  weights: Int32Array // [out, stride], 1 is 2 ** 22
}

/** Weights for one axis, from `from` pixels to `to`. */
export function tapsOf(from: number, to: number, filter: Filter = FILTERS[BICUBIC]): Taps {
  const scale = from / to
  const stretch = Math.max(scale, 1)
  const support = filter.support * stretch
  const stride = Math.ceil(support) * 2 + 1
  const squeeze = 1 / stretch
  const taps: Taps = {
    first: new Int32Array(to),
    count: new Int32Array(to),
    stride,
    weights: new Int32Array(to * stride),
  }
  const weights = new Float64Array(stride)
  for (let out = 0; out < to; out++) {
    const center = (out + 0.5) * scale
    const first = Math.max(0, Math.trunc(center - support + 0.5))
    const count = Math.min(from, Math.trunc(center + support + 0.5)) - first
    let sum = 0
    for (let i = 0; i < count; i++) {
      const weight = filter.weight((i + first - center + 0.5) * squeeze)
      weights[i] = weight
      sum += weight
    }
    for (let i = 0; i < count; i++) {
      const weight = sum === 0 ? weights[i]! : weights[i]! / sum
      taps.weights[out * stride + i] = Math.trunc(weight * ONE + (weight < 0 ? -0.5 : 0.5))
    }
    taps.first[out] = first
    taps.count[out] = count
  }
  return taps
}

/** Pillow's nearest: one source pixel for each output pixel, found by adding steps, with Pillow's rounding. */
function nearestTaps(from: number, to: number): Taps {
  const scale = from / to
  const first = new Int32Array(to)
  for (let out = 0, at = scale * 0.5; out < to; out++, at += scale)
    first[out] = Math.min(Math.trunc(at), from - 1)
  return { first, count: new Int32Array(to).fill(1), stride: 1, weights: new Int32Array(to).fill(ONE) }
}

/** Resizes each row to the width of `taps`. */
function resizeRows({ width: rowWidth, height, data: source }: Rgb, taps: Taps): Rgb {
  const { first, count, stride, weights } = taps
  const width = first.length
  const data = new Uint8Array(width * height * 3)
  for (let y = 0, to = 0; y < height; y++) {
    const row = y * rowWidth * 3
    for (let x = 0; x < width; x++, to += 3) {
      const start = x * stride
      const end = start + count[x]!
      let red = HALF
      let green = HALF
      let blue = HALF
      for (let tap = start, from = row + first[x]! * 3; tap < end; tap++, from += 3) {
        const weight = weights[tap]!
        red = (red + Math.imul(source[from]!, weight)) | 0
        green = (green + Math.imul(source[from + 1]!, weight)) | 0
        blue = (blue + Math.imul(source[from + 2]!, weight)) | 0
      }
      data[to] = clip(red)
      data[to + 1] = clip(green)
      data[to + 2] = clip(blue)
    }
  }
  return { width, height, data }
}

/** Resizes each column to the height of `taps`, one row of sums at a time. */
function resizeColumns({ width, data: source }: Rgb, { first, count, stride, weights }: Taps): Rgb {
  const height = first.length
  const rowLength = width * 3
  const data = new Uint8Array(rowLength * height)
  const sums = new Int32Array(rowLength)
  for (let y = 0; y < height; y++) {
    sums.fill(HALF)
    for (let tap = 0; tap < count[y]!; tap++) {
      const weight = weights[y * stride + tap]!
      const from = (first[y]! + tap) * rowLength
      for (let i = 0; i < rowLength; i++) sums[i] = (sums[i]! + Math.imul(source[from + i]!, weight)) | 0
    }
    for (let i = 0, to = y * rowLength; i < rowLength; i++) data[to + i] = clip(sums[i]!)
  }
  return { width, height, data }
}

function clip(sum: number): number {
  return Math.min(Math.max(sum >> PRECISION_BITS, 0), 255)
}

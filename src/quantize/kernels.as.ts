// The arithmetic of quantization over millions of weights, in AssemblyScript: compiled to kernels.wasm (WebAssembly with
// SIMD, committed) by `npm run kernels`, called by kernels.ts. Ten to twenty times as fast as the same loops in JavaScript.
//
// Every function reads and writes memory regions that kernels.ts allocates. Addresses are in bytes. Each region is followed
// by 16 bytes or more that may be read and overwritten. After widening, values are float32. A weight is [rows, inputs].

/** The smallest and the largest value of a block, by findRange. */
const RANGE: usize = memory.data(16, 16)
/** A copy of a block that the end of a row cuts off, padded with zeros. */
const SCRATCH: usize = memory.data(1024, 16)
/** 16 x 16 bytes before and after each step of a transpose. */
const TURN_A: usize = memory.data(256, 16)
const TURN_B: usize = memory.data(256, 16)

/** The lower limit of divisors. Prevents division by zero. */
const TINY: f32 = 1e-36

/** Results of packBlocks4 for the current block: each of the four lanes has those of one span. */
const INVERSES: usize = memory.data(16, 16)
const SCALES: usize = memory.data(16, 16)
const ZEROS: usize = memory.data(16, 16)

/** The first address that kernels.ts may allocate: the end of the constants above. */
export function firstFree(): usize {
  return (__heap_base + 15) & ~15
}

/** Converts bfloat16 to float32. A bfloat16 is the upper half of a float32. */
export function widenBf16(from: usize, to: usize, count: i32): void {
  for (let i = 0; i < count; i += 4) {
    v128.store(to + ((<usize>i) << 2), i32x4.shl(v128.load_ext<u16>(from + ((<usize>i) << 1)), 16))
  }
}

/**
 * Converts float16 to float32. Exponent and fraction are shifted to their places in a float32, which then is 2^-112 times
 * the value, also for subnormal values. An exponent of all ones (infinity or NaN) stays all ones.
 */
export function widenF16(from: usize, to: usize, count: i32): void {
  const power = f32x4.splat(5.192296858534828e33) // 2^112
  for (let i = 0; i < count; i += 4) {
    const half = v128.load_ext<u16>(from + ((<usize>i) << 1))
    const sign = i32x4.shl(v128.and(half, i32x4.splat(0x8000)), 16)
    const size = f32x4.mul(i32x4.shl(v128.and(half, i32x4.splat(0x7fff)), 13), power)
    const ones = i32x4.eq(v128.and(half, i32x4.splat(0x7c00)), i32x4.splat(0x7c00))
    const wide = v128.or(size, v128.and(ones, i32x4.splat(0x7f800000)))
    v128.store(to + ((<usize>i) << 2), v128.or(wide, sign))
  }
}

/** Whether no float32 value is NaN or infinite. */
export function allFinite(from: usize, count: i32): bool {
  const ones = i32x4.splat(0x7f800000)
  let bad = i32x4.splat(0)
  const whole = count & ~3
  for (let i = 0; i < whole; i += 4) {
    bad = v128.or(bad, i32x4.eq(v128.and(v128.load(from + ((<usize>i) << 2)), ones), ones))
  }
  if (v128.any_true(bad)) return false
  for (let i = whole; i < count; i++) {
    if ((load<u32>(from + ((<usize>i) << 2)) & 0x7f800000) === 0x7f800000) return false
  }
  return true
}

/**
 * Quantizes to 8 bits with zero point 128 and one scale for each block. The sign of the scale is chosen so that the value
 * with the largest magnitude gets level -128. Level 128 does not exist. So the whole range is used and that value is exact.
 */
export function packBlocks8(
  values: usize,
  rows: i32,
  inputs: i32,
  block: i32,
  packed: usize,
  scales: usize,
): void {
  for (let row = 0; row < rows; row++) {
    for (let at = 0; at < inputs; at += block) {
      const from = wholeBlock(values + ((<usize>row * inputs + at) << 2), min(block, inputs - at), block)
      findRange(from, block)
      const low = load<f32>(RANGE)
      const high = load<f32>(RANGE, 4)
      const scale: f32 = (high > -low ? high : low) / -128
      store<f32>(scales, scale)
      scales += 4
      const inverse = f32x4.splat(scale === 0 ? 0 : 1 / scale)
      for (let i = 0; i < block; i += 16) {
        const levels = levels16(
          from + ((<usize>i) << 2),
          inverse,
          f32x4.splat(-128),
          f32x4.splat(127),
          f32x4.splat(128),
        )
        v128.store(packed, levels)
        packed += 16
      }
    }
  }
}

/**
 * Quantizes to 4 bits with a zero point and a scale for each block. Rounding to nearest spreads the levels over the range
 * from the smallest to the largest value. This function tries four spans, which are fractions of that range, one in each
 * lane. The scale of a span is the least-squares fit to its levels. The span with the smallest squared error is used. No
 * branch depends on values.
 */
export function packBlocks4(
  values: usize,
  rows: i32,
  inputs: i32,
  block: i32,
  packed: usize,
  scales: usize,
  zeros: usize,
): void {
  const spans = f32x4(1.0, 0.94, 0.87, 0.8)
  const none = f32x4.splat(0)
  for (let row = 0; row < rows; row++) {
    let number = 0
    for (let at = 0; at < inputs; at += block, number++) {
      const from = wholeBlock(values + ((<usize>row * inputs + at) << 2), min(block, inputs - at), block)
      findRange(from, block)
      const low: f32 = min<f32>(load<f32>(RANGE), 0)
      const high: f32 = max<f32>(load<f32>(RANGE, 4), 0)
      // A block becomes zeros if its values are zeros or too small to divide by.
      const range: f32 = max<f32>(high - low, TINY)
      const inverse = f32x4.div(f32x4.splat(15), f32x4.mul(f32x4.splat(range), spans))
      const middle = f32x4.splat(<f32>0.5 * (high + low))
      const zero = clamp(
        f32x4.nearest(f32x4.sub(f32x4.splat(7.5), f32x4.mul(middle, inverse))),
        none,
        f32x4.splat(15),
      )
      const bottom = f32x4.neg(zero)
      const top = f32x4.sub(f32x4.splat(15), zero)
      // Two sums of each kind, so that an addition does not wait for the previous one.
      let cross0 = none
      let cross1 = none
      let square0 = none
      let square1 = none
      for (let i = 0; i < block; i += 2) {
        const value0 = f32x4.mul(v128.load32_splat(from + ((<usize>i) << 2)), inverse)
        const value1 = f32x4.mul(v128.load32_splat(from + ((<usize>i) << 2), 4), inverse)
        const level0 = clamp(f32x4.nearest(value0), bottom, top)
        const level1 = clamp(f32x4.nearest(value1), bottom, top)
        cross0 = f32x4.add(cross0, f32x4.mul(value0, level0))
        cross1 = f32x4.add(cross1, f32x4.mul(value1, level1))
        square0 = f32x4.add(square0, f32x4.mul(level0, level0))
        square1 = f32x4.add(square1, f32x4.mul(level1, level1))
      }
      const cross = f32x4.add(cross0, cross1)
      const square = f32x4.pmax(f32x4.add(square0, square1), f32x4.splat(TINY))
      const fitted = f32x4.div(cross, square) // the scale, in units of 1 / inverse
      // By how much the fit lowers the squared error, up to a factor that is the same for all spans.
      const gain = f32x4.mul(f32x4.mul(fitted, cross), f32x4.mul(spans, spans))
      v128.store(INVERSES, inverse)
      v128.store(SCALES, f32x4.div(fitted, inverse))
      v128.store(ZEROS, i32x4.trunc_sat_f32x4_s(zero))
      let best = f32x4.pmax(gain, i32x4.shuffle(gain, gain, 1, 0, 3, 2))
      best = f32x4.pmax(best, i32x4.shuffle(best, best, 2, 3, 0, 1))
      const lane = (<usize>ctz(i32x4.bitmask(f32x4.ge(gain, best)))) << 2

      store<f32>(scales, load<f32>(SCALES + lane))
      scales += 4
      const bestZero = load<i32>(ZEROS + lane)
      const half = zeros + (number >> 1)
      store<u8>(half, number & 1 ? (load<u8>(half) & 0x0f) | (bestZero << 4) : bestZero | 0x80)
      const times = f32x4.splat(load<f32>(INVERSES + lane))
      const floor = f32x4.splat(<f32>-bestZero)
      const ceiling = f32x4.splat(<f32>15 - <f32>bestZero)
      for (let i = 0; i < block; i += 16) {
        const levels = levels16(from + ((<usize>i) << 2), times, floor, ceiling, f32x4.splat(<f32>bestZero))
        // Two values in each byte, the first in the low half.
        const pairs = v128.or(
          v128.and(levels, i16x8.splat(0x0f)),
          i16x8.shr_u(v128.and(levels, i16x8.splat(0x0f00)), 4),
        )
        v128.store64_lane(packed, i8x16.narrow_i16x8_u(pairs, pairs), 0)
        packed += 8
      }
    }
    zeros += (number + 1) >> 1
  }
}

/** Quantizes to signed bytes with one scale for each row, and transposes them: `turned` is [inputs, rows]. */
export function packColumns(values: usize, rows: i32, inputs: i32, turned: usize, scales: usize): void {
  for (let row = 0; row < rows; row++) {
    const from = values + ((<usize>row * inputs) << 2)
    const whole = inputs & ~3
    let high = f32x4.splat(0)
    for (let i = 0; i < whole; i += 4) high = f32x4.pmax(high, f32x4.abs(v128.load(from + ((<usize>i) << 2))))
    let largest = highest(high)
    for (let i = whole; i < inputs; i++)
      largest = max<f32>(largest, abs<f32>(load<f32>(from + ((<usize>i) << 2))))
    // -128 is not used, so that a weight and its negative have the same error.
    store<f32>(scales + ((<usize>row) << 2), largest / 127)
  }
  for (let row = 0; row < rows; row += 16) {
    for (let input = 0; input < inputs; input += 16) {
      const high = min(16, rows - row)
      const wide = min(16, inputs - input)
      for (let r = 0; r < 16; r++) {
        const scale = r < high ? load<f32>(scales + ((<usize>(row + r)) << 2)) : 0
        const inverse = f32x4.splat(scale === 0 ? 0 : 1 / scale)
        // May read past the end of a row, into the next row or behind the region. Those levels are not copied below.
        const from = values + ((<usize>min(row + r, rows - 1) * inputs + input) << 2)
        v128.store(
          TURN_A + (r << 4),
          levels16(from, inverse, f32x4.splat(-127), f32x4.splat(127), f32x4.splat(0)),
        )
      }
      interleave(TURN_A, TURN_B)
      interleave(TURN_B, TURN_A)
      interleave(TURN_A, TURN_B)
      interleave(TURN_B, TURN_A)
      for (let c = 0; c < wide; c++) {
        memory.copy(turned + (<usize>(input + c) * rows + row), TURN_A + (c << 4), high)
      }
    }
  }
}

/** Each value times the factor of its input, in place. */
export function scaleInputs(values: usize, rows: i32, inputs: i32, factors: usize): void {
  const whole = inputs & ~3
  for (let row = 0; row < rows; row++) {
    const from = values + ((<usize>row * inputs) << 2)
    for (let i = 0; i < whole; i += 4) {
      const at = from + ((<usize>i) << 2)
      v128.store(at, f32x4.mul(v128.load(at), v128.load(factors + ((<usize>i) << 2))))
    }
    for (let i = whole; i < inputs; i++) {
      const at = from + ((<usize>i) << 2)
      store<f32>(at, load<f32>(at) * load<f32>(factors + ((<usize>i) << 2)))
    }
  }
}

/** `largest` [inputs] becomes the largest |value| of each input, and of what it was before. */
export function largestOfInputs(values: usize, rows: i32, inputs: i32, largest: usize): void {
  const whole = inputs & ~3
  for (let row = 0; row < rows; row++) {
    const from = values + ((<usize>row * inputs) << 2)
    for (let i = 0; i < whole; i += 4) {
      const at = largest + ((<usize>i) << 2)
      v128.store(at, f32x4.pmax(v128.load(at), f32x4.abs(v128.load(from + ((<usize>i) << 2)))))
    }
    for (let i = whole; i < inputs; i++) {
      const at = largest + ((<usize>i) << 2)
      store<f32>(at, max<f32>(load<f32>(at), abs<f32>(load<f32>(from + ((<usize>i) << 2)))))
    }
  }
}

/** The address of a whole block of values. A block with fewer values is copied and padded with zeros. */
function wholeBlock(from: usize, count: i32, block: i32): usize {
  if (count === block) return from
  memory.fill(SCRATCH, 0, (<usize>block) << 2)
  memory.copy(SCRATCH, from, (<usize>count) << 2)
  return SCRATCH
}

/** Writes the smallest and the largest value of a block to RANGE. */
function findRange(from: usize, block: i32): void {
  let low = v128.load(from)
  let high = low
  for (let i = 4; i < block; i += 4) {
    const value = v128.load(from + ((<usize>i) << 2))
    low = f32x4.pmin(low, value)
    high = f32x4.pmax(high, value)
  }
  store<f32>(RANGE, -highest(f32x4.neg(low)))
  store<f32>(RANGE, highest(high), 4)
}

/** The largest of four lanes. */
function highest(lanes: v128): f32 {
  const pairs = f32x4.pmax(lanes, i32x4.shuffle(lanes, lanes, 2, 3, 0, 1))
  return f32x4.extract_lane(f32x4.pmax(pairs, i32x4.shuffle(pairs, pairs, 1, 0, 3, 2)), 0)
}

function clamp(values: v128, bottom: v128, top: v128): v128 {
  // pmin and pmax take one instruction on x86. min and max take several, for NaN, which does not occur here.
  return f32x4.pmin(f32x4.pmax(values, bottom), top)
}

/**
 * 16 values -> 16 bytes: value * inverse, limited to [bottom, top] and rounded, plus zero. Negative results are in two's
 * complement.
 */
function levels16(from: usize, inverse: v128, bottom: v128, top: v128, zero: v128): v128 {
  return i8x16.narrow_i16x8_u(
    i16x8.narrow_i32x4_s(
      levels4(from, inverse, bottom, top, zero),
      levels4(from + 16, inverse, bottom, top, zero),
    ),
    i16x8.narrow_i32x4_s(
      levels4(from + 32, inverse, bottom, top, zero),
      levels4(from + 48, inverse, bottom, top, zero),
    ),
  )
}

/** The same for 4 values. After adding 1.5 * 2^23 the lowest bits of the sum have the number, rounded half to even. */
function levels4(from: usize, inverse: v128, bottom: v128, top: v128, zero: v128): v128 {
  const level = clamp(f32x4.mul(v128.load(from), inverse), bottom, top)
  const rounded = f32x4.add(f32x4.add(level, f32x4.splat(12582912)), zero)
  return v128.and(rounded, i32x4.splat(0xff))
}

/** Interleaves the bytes of row i and row i + 8, for 16 rows of 16 bytes. Four calls transpose 16 x 16 bytes. */
function interleave(from: usize, to: usize): void {
  for (let i = 0; i < 8; i++) {
    const a = v128.load(from + (i << 4))
    const b = v128.load(from + ((i + 8) << 4))
    v128.store(to + (i << 5), i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23))
    v128.store(
      to + (i << 5) + 16,
      i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31),
    )
  }
}

// float32 <-> IEEE 754 binary16 as bits in a Uint16Array, which Node 20 has no type for. Rounds to nearest, ties to even.

const bits = new Uint32Array(1)
const float = new Float32Array(bits.buffer)

/** The value of each of the 65,536 bit patterns. */
let values: Float32Array | undefined

/** Accepts finite numbers up to 65,504. */
export function toHalf(numbers: Float32Array): Uint16Array {
  return Uint16Array.from(numbers, (number) => {
    float[0] = number
    const [all = 0] = bits
    const sign = (all >>> 16) & 0x8000
    // Exponent and mantissa with the bias of binary16, still with 13 bits that do not fit.
    const rest = (all & 0x7fffffff) - (112 << 23)
    if (rest >= 1 << 23) return sign | ((rest + 0xfff + ((rest >>> 13) & 1)) >>> 13)
    // Subnormal: a multiple of 2^-24.
    const scaled = Math.abs(number) * 2 ** 24
    const floor = Math.floor(scaled)
    const fraction = scaled - floor
    return sign | (floor + (fraction > 0.5 || (fraction === 0.5 && floor % 2 === 1) ? 1 : 0))
  })
}

export function fromHalf(halves: Uint16Array): Float32Array {
  const table = valuesOfHalves()
  return Float32Array.from(halves, (half) => table[half]!)
}

/** The value of each bit pattern, for loops that need no copy. */
export function valuesOfHalves(): Float32Array {
  values ??= Float32Array.from({ length: 65_536 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1
    const exponent = (half >>> 10) & 0x1f
    const mantissa = half & 0x3ff
    if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    if (exponent === 0) return sign * mantissa * 2 ** -24
    return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15)
  })
  return values
}

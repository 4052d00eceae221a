// Pictures from a formula, the same as reference/pictures.py `noise`. Goes in: size and seed. Comes out: Rgb.

import type { Rgb } from '../../src/image/decode.ts'

export function noise(width: number, height: number, seed: number): Rgb {
  const data = new Uint8Array(width * height * 3)
  let state = seed
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    data[i] = state >>> 24
  }
  return { width, height, data }
}

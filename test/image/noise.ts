// Size and seed -> Rgb pictures from the formula of `noise` in reference/pictures.py.

import type { Rgb } from '../../src/image/colours.ts'

export function noise(width: number, height: number, seed: number): Rgb {
  const data = new Uint8Array(width * height * 3)
  let state = seed
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    data[i] = state >>> 24
  }
  return { width, height, data }
}

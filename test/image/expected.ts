// The results of Pillow and transformers that reference/pictures.py recorded, as lists.

import { readFileSync } from 'node:fs'
import { inflateSync } from 'node:zlib'
import type { Resample } from '../../src/image/resize.ts'

interface Place {
  at: number
  size: number
}

interface Expected {
  pillow: string
  transformers: string
  pictures: {
    name: string
    mode: string
    /** Allowed mean difference of the values; without it they must be equal. */
    mean_difference?: number
    as_transformers: Place & { width: number; height: number }
    as_seen: Place & { width: number; height: number }
  }[]
  resized: {
    width: number
    height: number
    to_width: number
    to_height: number
    resample: Resample
    seed: number
    sha256: string
  }[]
  pixels: (Place & { rule: unknown; width: number; height: number; seed: number; dims: number[] })[]
}

const folder = new URL('../fixtures/pictures/', import.meta.url)
const stored = readFileSync(new URL('expected.bin', folder))

export const expected: Expected = JSON.parse(readFileSync(new URL('expected.json', folder), 'utf8'))

export function bytesAt({ at, size }: Place): Buffer {
  return inflateSync(stored.subarray(at, at + size))
}

export function fixture(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(name, folder)))
}

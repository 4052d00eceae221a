// A deterministic embedder for tests. A "picture" is a file that begins with `picture ` and lists its words; every word has
// a direction, a picture's queries share them with different weights, and a text is the sum of its words.

import { RequestError } from '../../src/errors.ts'
import { sha256Hex } from '../../src/hash.ts'
import { createRng } from '../../src/run/sampling.ts'
import type { Embedder } from '../../src/search/embedder.ts'
import { toHalf } from '../../src/search/half.ts'
import type { ModelOfVectors } from '../../src/search/store.ts'

export const FAKE_MODEL: ModelOfVectors = { key: 'fake-1', name: 'fake', count: 4, width: 32 }

export interface FakeEmbedder extends Embedder {
  /** Words of the pictures that were embedded, in order. */
  readonly embedded: string[]
  readonly matched: string[]
}

export function pictureOf(...words: string[]): Buffer {
  return Buffer.from(`picture ${words.join(' ')}`)
}

/** A direction for each word or slot, the same in every process. */
export function directionOf(name: string, width: number): Float32Array {
  const random = createRng(Number.parseInt(sha256Hex(name).slice(0, 8), 16))
  return normalized(Float32Array.from({ length: width }, () => random() + random() + random() - 1.5))
}

export function normalized(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector)
  return vector.map((value) => value / length)
}

export function fakeEmbedder(model = FAKE_MODEL, options: { rerankHelps?: boolean } = {}): FakeEmbedder {
  const { count, width } = model
  const embedded: string[] = []
  const matched: string[] = []
  const sum = (parts: readonly (readonly [string, number])[]) => {
    const total = new Float32Array(width)
    for (const [name, weight] of parts) {
      for (const [i, value] of directionOf(name, width).entries()) total[i]! += weight * value
    }
    return normalized(total)
  }
  const wordsOf = (image: Uint8Array) => {
    const [kind, ...words] = Buffer.from(image).toString().trim().split(/\s+/)
    if (kind !== 'picture') throw new RequestError('not_a_picture', 'Expected a picture but got text.')
    return words
  }
  return {
    model,
    batch: 4,
    rerankHelps: options.rerankHelps ?? false,
    embedded,
    matched,
    async embedPicture(image) {
      const words = wordsOf(image)
      embedded.push(words.join(' '))
      const rows = Array.from({ length: count }, (_, slot) =>
        sum([
          [`slot ${slot}`, 0.3],
          ...words.map((word, i) => [word, i % count === slot ? 1 : 0.2] as const),
        ]),
      )
      const all = new Float32Array(count * width)
      for (const [slot, row] of rows.entries()) all.set(row, slot * width)
      return toHalf(all)
    },
    embedText: async (text) => sum(text.split(/\s+/).map((word) => [word, 1] as const)),
    async match(picture, text) {
      if (!('image' in picture)) throw new RequestError('picture_forgotten', 'Expected a cached picture.')
      const words = wordsOf(picture.image)
      matched.push(words.join(' '))
      const wanted = text.split(/\s+/)
      const probability = wanted.filter((word) => words.includes(word)).length / wanted.length
      return { probability, logit: 4 * probability }
    },
  }
}

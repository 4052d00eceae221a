// A deterministic embedder for tests. A "picture" is a file that begins with `picture ` and lists its words; every word has
// a direction, a picture's queries share them with different weights, and a text is the sum of its words.

import type { Engine, Hooks } from '../../src/engine/engine.ts'
import type { BaseRequest } from '../../src/engine/request.ts'
import { BusyError, RequestError } from '../../src/errors.ts'
import { fromHalf, toHalf } from '../../src/half.ts'
import { sha256Hex } from '../../src/hash.ts'
import { createRng } from '../../src/run/sampling.ts'
import type { Embedder } from '../../src/search/embedder.ts'
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

/** The same as an engine, for what is served over HTTP. */
export function fakeEngine(embedder: FakeEmbedder = fakeEmbedder()): Engine & { answered: BaseRequest[] } {
  const answered: BaseRequest[] = []
  const base64 = (values: Float32Array) => Buffer.from(values.buffer).toString('base64')
  const answer = async (request: BaseRequest & { text?: string; texts?: string[] }, hooks: Hooks = {}) => {
    answered.push(request)
    if (hooks.signal?.aborted) throw new BusyError('cancelled', 'It was cancelled.')
    const { image, text, texts } = request
    const timings_ms = { queue: 0, image: 0, pixels: 0, vision: 0, queries: 0, tokens: 0, total: 0 }
    const base = { text: '', model: embedder.model.name, picture: '', timings_ms }
    if (texts) {
      const { probability, logit } = await embedder.match(
        image ? { image } : { sha256: request.picture! },
        texts[0]!,
      )
      return { ...base, matches: [{ text: texts[0], probability, logits: [0, logit], contrastive: 0 }] }
    }
    const { count, width } = embedder.model
    const features = image
      ? {
          image_embeds_proj: {
            shape: [count, width],
            data: base64(fromHalf(await embedder.embedPicture(image))),
          },
        }
      : { text_embeds_proj: { shape: [1, width], data: base64(await embedder.embedText(text!)) } }
    return { ...base, features }
  }
  return {
    model: { name: embedder.model.name, vectors: embedder.model },
    pending: 0,
    ready: true,
    answered,
    answer: answer as Engine['answer'],
    close: async () => {},
  }
}

// Tensors by their path in the checkpoint: `weights.at('qformer.encoder.layer.0').take('...', [768, 768])`.
//
// Taking declares what the model needs and reads nothing. Problems are gathered, and undefined() reports missing,
// misshapen, quantized and unread tensors together, so that a bad checkpoint is understood in one go.

import { ArtifactError } from '../errors.ts'
import type { Matrix, Values } from '../quantize/matrix.ts'
import type { Format } from '../quantize/recipes.ts'
import { isFloat, shapeText, type TensorFiles } from './safetensors.ts'

export interface Weight extends Matrix {
  /** How the recipe wants it stored. */
  format: Format
}

/**
 * Two names that the config says are one tensor hold different values. transformers then believes the weights
 * (modeling_utils.py of 5.18, tie_weights), so whoever drew them as one draws them anew as two.
 */
export class TiedWeightsDiffer extends Error {}

interface Usage {
  read: Set<string>
  missing: string[]
  misshapen: string[]
  /** Integers and 8-bit floats, of which Glimpse knows no scales. */
  quantized: string[]
}

export class Weights {
  readonly #files: TensorFiles
  readonly #formatOf: (path: string) => Format
  readonly #path: string
  readonly #usage: Usage

  constructor(
    files: TensorFiles,
    formatOf: (path: string) => Format,
    path = '',
    usage: Usage = { read: new Set(), missing: [], misshapen: [], quantized: [] },
  ) {
    this.#files = files
    this.#formatOf = formatOf
    this.#path = path
    this.#usage = usage
  }

  at(step: string): Weights {
    return new Weights(this.#files, this.#formatOf, this.#join(step), this.#usage)
  }

  has(step: string): boolean {
    return this.#files.entries.has(this.#join(step))
  }

  take(step: string, dims: number[]): Weight {
    const name = this.#join(step)
    const format = this.#formatOf(name)
    const entry = this.#files.entries.get(name)
    if (!entry) {
      this.#usage.missing.push(`${name} ${shapeText(dims)}`)
      return { sources: [name], dims, format, rows: () => none() }
    }
    this.#usage.read.add(name)
    if (!sameShape(entry.shape, dims)) {
      this.#usage.misshapen.push(`${name} is ${shapeText(entry.shape)}, expected ${shapeText(dims)}`)
    }
    if (!isFloat(entry.dtype)) {
      this.#usage.quantized.push(`${name} is ${entry.dtype}, expected F64, F32, F16 or BF16`)
    }
    return { sources: [name], dims, format, rows: () => this.#files.rows(entry) }
  }

  /** One tensor that stands under two names. Reading it throws TiedWeightsDiffer where the two are not alike. */
  takeTied(step: string, other: string, dims: number[]): Weight {
    const [one, two] = [this.take(step, dims), this.take(other, dims)]
    return {
      ...one,
      sources: [...one.sources, ...two.sources],
      rows: () => inStep(one.rows(), two.rows()),
    }
  }

  /** Marks a tensor as known and not needed. */
  ignore(step: string): void {
    this.#usage.read.add(this.#join(step))
  }

  /** Throws ArtifactError `wrong_tensors` unless every tensor asked for is there and every one there was asked for. */
  assertAllUsed(): void {
    const { read, missing, misshapen, quantized } = this.#usage
    // Older releases of transformers saved the row of positions that they count; newer ones pass it over.
    const unread = [...this.#files.entries.values()]
      .filter(({ name, dtype }) => !read.has(name) && !(dtype === 'I64' && name.endsWith('.position_ids')))
      .map(({ name }) => name)
    const parts = [
      part('missing', missing),
      part('misshapen', misshapen),
      part('quantized', quantized),
      part('not part of this model', unread),
    ].filter((text) => text !== '')
    if (parts.length === 0) return
    throw new ArtifactError(
      'wrong_tensors',
      `Expected the tensors that config.json describes but ${parts.join('; ')}. Check that config.json and the weights are of the same checkpoint, completely downloaded and not quantized.`,
    )
  }

  #join(step: string): string {
    return this.#path === '' ? step : `${this.#path}.${step}`
  }
}

function part(title: string, names: string[]): string {
  if (names.length === 0) return ''
  return `${names.length} ${title}: ${foldLayers(names).join(', ')}`
}

/** What is said of many layers alike is said once, and nothing is left out: `layers.0.fc`, `layers.1.fc` -> `layers.0-1.fc`. */
function foldLayers(names: readonly string[]): string[] {
  const layersOf = new Map<string, { before: string; layers: number[]; after: string }>()
  for (const name of names) {
    const [, before = name, layer, after = ''] = /^([^ ]*?\.)(0|[1-9]\d{0,8})(\..*)$/.exec(name) ?? []
    const key = JSON.stringify([before, after, layer === undefined])
    const entry = layersOf.get(key) ?? { before, layers: [], after }
    layersOf.set(key, entry)
    if (layer !== undefined) entry.layers.push(Number(layer))
  }
  return [...layersOf.values()].map(({ before, layers, after }) => `${before}${rangesText(layers)}${after}`)
}

/** [0, 1, 2] -> `0-2`; [5, 0, 1] -> `{0-1,5}`. */
function rangesText(numbers: readonly number[]): string {
  const ranges: { from: number; to: number }[] = []
  for (const one of [...new Set(numbers)].sort((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last?.to === one - 1) last.to = one
    else ranges.push({ from: one, to: one })
  }
  const texts = ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`))
  return texts.length > 1 ? `{${texts.join(',')}}` : texts.join('')
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i])
}

/** What `ones` gives, as long as `others` gives the same. */
async function* inStep(ones: AsyncIterable<Values>, others: AsyncIterable<Values>): AsyncGenerator<Values> {
  const iterator = others[Symbol.asyncIterator]()
  try {
    for await (const one of ones) {
      const other = await iterator.next()
      if (other.done || Buffer.compare(one.bytes, other.value.bytes) !== 0) {
        throw new TiedWeightsDiffer(`${one.name} differs from its twin`)
      }
      yield one
    }
  } finally {
    await iterator.return?.()
  }
}

async function* none(): AsyncGenerator<Values> {}

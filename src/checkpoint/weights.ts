// Tensors by their path in the checkpoint: `weights.at('qformer.encoder.layer.0').take('...', [768, 768])`.
//
// take() declares a tensor that the model needs and reads no values. assertAllUsed() reports all missing, misshapen,
// quantized and unread tensors in one error.

import { ArtifactError } from '../errors.ts'
import type { Matrix, Values } from '../quantize/matrix.ts'
import type { Format } from '../quantize/recipes.ts'
import { smooth } from '../quantize/smoothing.ts'
import { isFloat, shapeText, type TensorEntry, type TensorFiles } from './safetensors.ts'

export interface Weight extends Matrix {
  /** How the recipe stores it. */
  format: Format
}

/**
 * Two tensors that are tied in config.json have different values. transformers then uses both (modeling_utils.py of 5.18,
 * tie_weights), so the graphs must be built again with two tensors.
 */
export class TiedWeightsDiffer extends Error {}

/** `quantized` are integers and 8-bit floats: Glimpse does not know their scales. */
type Problem = 'missing' | 'misshapen' | 'quantized' | 'not part of this model'

export class Weights {
  readonly #files: TensorFiles
  readonly #formatOf: (path: string) => Format
  readonly #path: string
  readonly #read: Set<string>
  readonly #problems: [Problem, tensor: string][]
  /** How smooth() changes a tensor, by its full name. */
  readonly #changes: Map<string, (matrix: Matrix) => Matrix>

  constructor(files: TensorFiles, formatOf: (path: string) => Format, path = '', parent?: Weights) {
    this.#files = files
    this.#formatOf = formatOf
    this.#path = path
    this.#read = parent ? parent.#read : new Set()
    this.#problems = parent ? parent.#problems : []
    this.#changes = parent ? parent.#changes : new Map()
  }

  at(step: string): Weights {
    return new Weights(this.#files, this.#formatOf, this.#join(step), this)
  }

  has(step: string): boolean {
    return this.#files.entries.has(this.#join(step))
  }

  take(step: string, dims: number[]): Weight {
    const name = this.#join(step)
    const format = this.#formatOf(name)
    const entry = this.#files.entries.get(name)
    if (!entry) {
      this.#problems.push(['missing', `${name} ${shapeText(dims)}`])
      return { sources: [name], dims, format, async *rows() {} }
    }
    this.#read.add(name)
    if (shapeText(entry.shape) !== shapeText(dims)) {
      this.#problems.push(['misshapen', `${name} is ${shapeText(entry.shape)}, expected ${shapeText(dims)}`])
    }
    if (!isFloat(entry.dtype)) {
      this.#problems.push(['quantized', `${name} is ${entry.dtype}, expected F64, F32, F16 or BF16`])
    }
    return { ...this.#changed(entry), dims, format }
  }

  /**
   * The channels that the tensors `producers` produce are read by the weights `readers` alone, in products. If the formats
   * of all readers say so (`smooth`), the channels get more even sizes, with the same outputs: quantize/smoothing.ts. Applies to
   * take() after this call. Producers that the checkpoint does not have, such as a bias, are left out.
   */
  smooth(producers: readonly string[], readers: readonly string[]): void {
    const [strength, other] = new Set(readers.map((step) => this.#formatOf(this.#join(step)).smooth))
    if (!strength || other !== undefined || !producers.some((step) => this.has(step))) return
    const entriesOf = (steps: readonly string[]) =>
      steps.flatMap((step) => this.#files.entries.get(this.#join(step)) ?? [])
    const [from, into] = [entriesOf(producers), entriesOf(readers)]
    const channels = from[0]!.shape[0]
    const fits =
      into.length === readers.length &&
      from.every(({ dtype, shape }) => isFloat(dtype) && shape[0] === channels) &&
      into.every(({ dtype, shape }) => isFloat(dtype) && shape.length === 2 && shape[1] === channels)
    if (!fits) return // assertAllUsed() reports these tensors.
    const { divideRows, multiplyInputs } = smooth(
      from.map((entry) => this.#changed(entry)),
      into.map((entry) => this.#changed(entry)),
      strength,
    )
    for (const [entries, change] of [
      [from, divideRows],
      [into, multiplyInputs],
    ] as const) {
      for (const { name } of entries) {
        const before = this.#changes.get(name)
        this.#changes.set(name, (matrix) => change(before ? before(matrix) : matrix))
      }
    }
  }

  /** A tensor as the smoothings declared so far make it. */
  #changed(entry: TensorEntry): Matrix {
    const { name, shape } = entry
    const stored = { sources: [name], dims: shape, rows: () => this.#files.rows(entry) }
    return this.#changes.get(name)?.(stored) ?? stored
  }

  /** One tensor with two names. Reading it throws TiedWeightsDiffer if the two have different values. */
  takeTied(step: string, other: string, dims: number[]): Weight {
    const [one, two] = [this.take(step, dims), this.take(other, dims)]
    return {
      ...one,
      sources: [...one.sources, ...two.sources],
      rows: () => inStep(one.rows(), two.rows()),
    }
  }

  /** Marks a tensor as not needed. */
  ignore(step: string): void {
    this.#read.add(this.#join(step))
  }

  /** @throws ArtifactError `wrong_tensors` unless the tensors taken or ignored are exactly those of the files */
  assertAllUsed(): void {
    const problems = [...this.#problems]
    for (const { name, dtype } of this.#files.entries.values()) {
      // Older releases of transformers saved position_ids, which newer ones ignore.
      const isIgnored = dtype === 'I64' && name.endsWith('.position_ids')
      if (!this.#read.has(name) && !isIgnored) problems.push(['not part of this model', name])
    }
    if (problems.length === 0) return
    const parts = [...new Set(problems.map(([problem]) => problem))].map((problem) => {
      const names = problems.filter(([other]) => other === problem).map(([, tensor]) => tensor)
      return `${names.length} ${problem}: ${foldLayers(names).join(', ')}`
    })
    throw new ArtifactError(
      'wrong_tensors',
      `The tensors differ from those that config.json describes: ${parts.join('; ')}. Check that config.json and the weights are of the same checkpoint, completely downloaded and not quantized.`,
    )
  }

  #join(step: string): string {
    return this.#path === '' ? step : `${this.#path}.${step}`
  }
}

/** Joins names that differ only in the layer: `layers.0.fc`, `layers.1.fc` -> `layers.0-1.fc`. */
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

/** Yields `ones`. Throws TiedWeightsDiffer at the first chunk that differs from that of `others`. */
async function* inStep(ones: AsyncIterable<Values>, others: AsyncIterable<Values>): AsyncGenerator<Values> {
  const iterator = others[Symbol.asyncIterator]()
  try {
    for await (const one of ones) {
      const other = await iterator.next()
      if (other.done || Buffer.compare(one.bytes, other.value.bytes) !== 0) {
        throw new TiedWeightsDiffer(`${one.name} differs from the tensor it is tied to`)
      }
      yield one
    }
  } finally {
    await iterator.return?.()
  }
}

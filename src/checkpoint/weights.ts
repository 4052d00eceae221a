// Tensors by their path in the checkpoint: `weights.at('qformer.encoder.layer.0').take('...', [768, 768])`.
//
// take() declares a tensor that the model needs and reads no values. assertAllUsed() reports all missing, misshapen,
// quantized and unread tensors in one error.

import { ArtifactError } from '../errors.ts'
import type { InitializerTensor } from '../onnx/graph.ts'
import type { Matrix, Values } from '../quantize/matrix.ts'
import type { Format } from '../quantize/recipes.ts'
import { smooth } from '../quantize/smoothing.ts'
import { isFloat, shapeText, type TensorEntry, type TensorFiles } from './safetensors.ts'

export interface Weight extends Matrix {
  /** How the recipe stores it. */
  format: Format
  /** Its inputs that are zero in it, because the channels that they read are large. */
  large?: Large
}

/** Inputs of a weight [outputs, inputs] that a product of their own reads: quantize/smoothing.ts. */
export interface Large {
  /** int64 [L] */
  channels: InitializerTensor
  /** [outputs, L], not quantized. */
  weight: Matrix
  /** [inputs]: 0 at large channels, else 1. Present if the other product must not see them. */
  mask?: Matrix
}

/** Of the channels of a product, at most this share is large. */
const LARGE_SHARE = 1 / 4

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
  /** Tensors that smooth() and separate() have changed, by their full names. */
  readonly #changed: Map<string, Pick<Weight, 'large'> & Matrix>

  constructor(files: TensorFiles, formatOf: (path: string) => Format, path = '', parent?: Weights) {
    this.#files = files
    this.#formatOf = formatOf
    this.#path = path
    this.#read = parent ? parent.#read : new Set()
    this.#problems = parent ? parent.#problems : []
    this.#changed = parent ? parent.#changed : new Map()
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
    return { ...this.#current(entry), dims, format }
  }

  /**
   * The channels that the tensors `producers` produce are read by the weights `readers` alone, in products, and a channel
   * divided by a factor gives outputs divided by it. The channels get more even sizes, and the few largest a product of their
   * own (`Weight.large`), as the formats of the readers say (`smooth`, `large`). Outputs stay the same: quantize/smoothing.ts.
   * Applies to take() after this call. Producers that the checkpoint does not have, such as a bias, are left out. `gates` are
   * tensors of which the activations are multiplied with the channels; they are not divided.
   */
  smooth(producers: readonly string[], readers: readonly string[], gates: readonly string[] = []): void {
    this.#balance(producers, readers, true, gates)
  }

  /** The same for channels that cannot be divided, such as those behind a GELU: the largest ones get a product of their own. */
  separate(producers: readonly string[], readers: readonly string[]): void {
    this.#balance(producers, readers, false)
  }

  #balance(
    producers: readonly string[],
    readers: readonly string[],
    divides: boolean,
    gates: readonly string[] = [],
  ): void {
    const formats = readers.map((step) => this.#formatOf(this.#join(step)))
    const { smooth: strength = 0, large = 0 } = formats[0]!
    const isOne = formats.every((one) => (one.smooth ?? 0) === strength && (one.large ?? 0) === large)
    if (!isOne || (large === 0 && !(divides && strength > 0))) return
    const entriesOf = (steps: readonly string[]) =>
      steps.flatMap((step) => this.#files.entries.get(this.#join(step)) ?? [])
    const [from, into, gating] = [entriesOf(producers), entriesOf(readers), entriesOf(gates)]
    const channels = from[0]?.shape[0] ?? 0
    const fits =
      from.length > 0 &&
      into.length === readers.length &&
      [...from, ...gating].every(({ dtype, shape }) => isFloat(dtype) && shape[0] === channels) &&
      into.every(({ dtype, shape }) => isFloat(dtype) && shape.length === 2 && shape[1] === channels)
    if (!fits) return // assertAllUsed() reports these tensors.
    const count = Math.min(large, Math.floor(channels * LARGE_SHARE))
    const currents = (entries: readonly TensorEntry[]) => entries.map((one) => this.#current(one))
    const [makers, users] = [currents(from), currents(into)]
    const { divideRows, multiplyInputs, pickLarge, ...found } = smooth(makers, users, {
      strength,
      large: count,
      gates: currents(gating),
      divides,
    })
    if (divides) {
      for (const [i, { large, ...matrix }] of makers.entries()) {
        const divided = large && { large: { ...large, weight: divideRows(large.weight) } }
        this.#changed.set(from[i]!.name, { ...divideRows(matrix), ...divided })
      }
    }
    for (const [i, matrix] of users.entries()) {
      const large = {
        channels: found.channels,
        weight: pickLarge(matrix),
        ...(!divides && { mask: found.mask }),
      }
      this.#changed.set(into[i]!.name, { ...multiplyInputs(matrix), ...(count > 0 && { large }) })
    }
  }

  /** A tensor as the file has it, or as smooth() and separate() have changed it so far. */
  #current(entry: TensorEntry): Pick<Weight, 'large'> & Matrix {
    const { name, shape } = entry
    return this.#changed.get(name) ?? { sources: [name], dims: shape, rows: () => this.#files.rows(entry) }
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

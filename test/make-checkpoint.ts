// A config -> a checkpoint folder with random weights. Tests make invalid checkpoints by editing the list of tensors.
//
// Names and shapes come from building the graphs, as in the builder (test/fixtures has independent ones). The tokenizer and
// preprocessor_config.json are those of test/fixtures/checkpoints/plain, so a vocabulary must have 297 tokens or more.

import { cp, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Weight, Weights } from '../src/checkpoint/weights.ts'
import { planModel } from '../src/model/architectures.ts'
import { createRng } from '../src/run/sampling.ts'
import { FIXTURES } from './fixtures.ts'

export const PLAIN = join(FIXTURES, 'checkpoints/plain')

export interface RawTensor {
  name: string
  dtype: string
  shape: number[]
  bytes: Uint8Array
}

type Edits = { [key: string]: unknown }

/** Returns the config of `plain` with edits merged into its parts: `{ text_config: { hidden_size: 64 } }`. */
export async function configWith(edits: Edits): Promise<Edits> {
  const config = JSON.parse(await readFile(join(PLAIN, 'config.json'), 'utf8'))
  for (const [key, value] of Object.entries(edits)) {
    const isPart = typeof value === 'object' && value !== null && !Array.isArray(value)
    config[key] = isPart ? { ...config[key], ...value } : value
  }
  return config
}

/** Returns every tensor that the config needs: norms near 1, matrices scaled so that outputs have the size of inputs. */
export function randomTensors(config: unknown, seed = 1): RawTensor[] {
  const requested = new Map<string, number[]>()
  planModel(config).build(new RecordingWeights(requested))
  const random = createRng(seed)
  return [...requested].map(([name, shape]) => {
    const spread = shape.length > 1 ? Math.sqrt(3 / shape.at(-1)!) : 0.1
    const middle = /norm\d?\.weight$/i.test(name) ? 1 : 0
    const count = shape.reduce((a, b) => a * b, 1)
    const values = Float32Array.from({ length: count }, () => middle + spread * (2 * random() - 1))
    return { name, dtype: 'F32', shape, bytes: new Uint8Array(values.buffer) }
  })
}

/** Returns tensors whose every answer is empty: the last hidden state is all ones, and only the end token's row is not zero. */
export function silentTensors(config: { [key: string]: unknown }): RawTensor[] {
  const { language } = planModel(config).description
  if (language.kind !== 'decoder') throw new Error(`Expected a decoder but got ${language.kind}`)
  const { eos_token_id, width } = language
  const end = eos_token_id[0]!
  return randomTensors(config).map((tensor) => {
    const values = new Float32Array(tensor.bytes.slice().buffer)
    const decoder = 'language_model.model.decoder'
    if (tensor.name === `${decoder}.final_layer_norm.weight`) values.fill(0)
    if (tensor.name === `${decoder}.final_layer_norm.bias`) values.fill(1)
    if (tensor.name === `${decoder}.embed_tokens.weight`) {
      values.fill(0)
      values.fill(0.5, end * width, (end + 1) * width)
    }
    return { ...tensor, bytes: new Uint8Array(values.buffer) }
  })
}

export function safetensors(tensors: readonly RawTensor[]): Buffer {
  let end = 0
  const header = tensors.map(({ name, dtype, shape, bytes }) => {
    const begin = end
    end += bytes.length
    return [name, { dtype, shape, data_offsets: [begin, end] }]
  })
  return withHeader(JSON.stringify(Object.fromEntries(header)), ...tensors.map(({ bytes }) => bytes))
}

/** Returns a safetensors file with any text as its header. */
export function withHeader(header: string, ...bytes: Uint8Array[]): Buffer {
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)))
  return Buffer.concat([length, Buffer.from(header), ...bytes])
}

/** Returns a new temporary folder; the caller removes it. */
export async function makeCheckpoint(config: unknown, tensors = randomTensors(config)): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-checkpoint-'))
  await cp(PLAIN, folder, { recursive: true })
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  await writeFile(join(folder, 'model.safetensors'), safetensors(tensors))
  return folder
}

/** Records the requested names and shapes and returns no data. */
class RecordingWeights extends Weights {
  readonly #requested: Map<string, number[]>
  readonly #at: string

  constructor(requested: Map<string, number[]>, at = '') {
    const none = {
      entries: new Map(),
      sizeBytes: 0,
      files: [],
      async *rows() {},
      async release() {},
      async close() {},
    }
    super(none, () => ({ kind: 'float32' }), at)
    this.#requested = requested
    this.#at = at
  }

  override at(step: string): RecordingWeights {
    return new RecordingWeights(this.#requested, this.#at === '' ? step : `${this.#at}.${step}`)
  }

  override take(step: string, dims: number[]): Weight {
    const weight = super.take(step, dims)
    this.#requested.set(weight.sources[0]!, dims)
    return weight
  }

  override assertAllUsed(): void {}
}

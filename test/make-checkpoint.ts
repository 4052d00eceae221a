// Any config -> a checkpoint's folder with random weights; a wrong one is made by editing its list of tensors.
//
// Names and shapes are found as the builder finds them, by drawing the model (test/fixtures has independent ones). The
// tokenizer and the picture rule are those of test/fixtures/checkpoints/plain, so vocabularies have 297 words or more.

import { cp, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseConfig } from '../src/checkpoint/config.ts'
import { type Weight, Weights } from '../src/checkpoint/weights.ts'
import { buildBlip2Graphs } from '../src/model/blip2.ts'
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

/** The config of `plain`, its parts edited one by one: `{ text_config: { hidden_size: 64 } }`. */
export async function configWith(edits: Edits): Promise<Edits> {
  const config = JSON.parse(await readFile(join(PLAIN, 'config.json'), 'utf8'))
  for (const [key, value] of Object.entries(edits)) {
    const isPart = typeof value === 'object' && value !== null && !Array.isArray(value)
    config[key] = isPart ? { ...config[key], ...value } : value
  }
  return config
}

/** Every tensor the config asks for: norms near 1, sums of products near the size of what comes in. */
export function randomTensors(config: unknown, seed = 1): RawTensor[] {
  const asked = new Map<string, number[]>()
  buildBlip2Graphs(parseConfig(config), new Asking(asked))
  const random = createRng(seed)
  return [...asked].map(([name, shape]) => {
    const spread = shape.length > 1 ? Math.sqrt(3 / shape.at(-1)!) : 0.1
    const middle = /norm\d?\.weight$/i.test(name) ? 1 : 0
    const count = shape.reduce((a, b) => a * b, 1)
    const values = Float32Array.from({ length: count }, () => middle + spread * (2 * random() - 1))
    return { name, dtype: 'F32', shape, bytes: new Uint8Array(values.buffer) }
  })
}

/** A language model whose every answer is the end at once: its last state is all ones, and only the end's row counts. */
export function silentTensors(config: { [key: string]: unknown }): RawTensor[] {
  const { text } = parseConfig(config)
  const end = [text.eos_token_id].flat()[0]!
  return randomTensors(config).map((tensor) => {
    const values = new Float32Array(tensor.bytes.slice().buffer)
    const decoder = 'language_model.model.decoder'
    if (tensor.name === `${decoder}.final_layer_norm.weight`) values.fill(0)
    if (tensor.name === `${decoder}.final_layer_norm.bias`) values.fill(1)
    if (tensor.name === `${decoder}.embed_tokens.weight`) {
      values.fill(0)
      values.fill(0.5, end * text.hidden_size, (end + 1) * text.hidden_size)
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

/** A safetensors file whose header may say anything. */
export function withHeader(header: string, ...bytes: Uint8Array[]): Buffer {
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)))
  return Buffer.concat([length, Buffer.from(header), ...bytes])
}

/** A new folder in the system's temporary one; whoever asks for it removes it. */
export async function makeCheckpoint(config: unknown, tensors = randomTensors(config)): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-checkpoint-'))
  await cp(PLAIN, folder, { recursive: true })
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  await writeFile(join(folder, 'model.safetensors'), safetensors(tensors))
  return folder
}

/** Notes what is asked for and gives nothing. */
class Asking extends Weights {
  readonly #asked: Map<string, number[]>
  readonly #at: string

  constructor(asked: Map<string, number[]>, at = '') {
    const none = {
      entries: new Map(),
      sizeBytes: 0,
      files: [],
      async *rows() {},
      async release() {},
      async close() {},
    }
    super(none, () => ({ kind: 'float32' }), at)
    this.#asked = asked
    this.#at = at
  }

  override at(step: string): Asking {
    return new Asking(this.#asked, this.#at === '' ? step : `${this.#at}.${step}`)
  }

  override take(step: string, dims: number[]): Weight {
    const weight = super.take(step, dims)
    this.#asked.set(weight.sources[0]!, dims)
    return weight
  }

  override assertAllUsed(): void {}
}

// How fast an artifact is on this machine, stage by stage: what `glimpse bench` prints.

import { readFile } from 'node:fs/promises'
import { LANGUAGE } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import { AS_SEEN, decode } from '../image/decode.ts'
import { toPixels } from '../image/pixels.ts'
import { filesOf } from '../onnx/write.ts'
import { Decoder, type Step } from '../run/decoder.ts'
import { type Model, type OpenOptions, openModel } from '../run/model.ts'
import { ensurePrepacked } from '../run/prepacked.ts'
import { runQueries } from '../run/queries.ts'
import { runVision } from '../run/vision.ts'
import { readBandwidth } from './bandwidth.ts'

export interface Benchmark {
  model: string
  precision: string
  threads: number
  rounds: number
  /** Memory is null where the system does not tell, and in the run that lays the model out. */
  opening: { ms: number; anonymous_bytes: number | null }
  /** Medians in milliseconds. `token` is one more token with the cache of all before. */
  ms: { image: number; pixels: number; vision: number; queries: number; prefill: number; token: number }
  /** Positions that prefill reads: the picture's and the prompt's. */
  prefill_positions: number
  tokens_per_second: number
  /** A first caption, and a question on a picture seen before, of `tokens` tokens each, from these medians. */
  caption_ms: number
  question_ms: number
  tokens: number
  /** Weights of the language model, which each token reads once. */
  bytes_per_token: number
  memory_bytes_per_second: number
  /** Time of a token over the time it takes to read its bytes: 1 is as fast as memory allows. */
  over_bandwidth: number
  anonymous_bytes: number | null
}

export interface BenchOptions extends OpenOptions {
  threads: number
  rounds: number
  tokens: number
  onStep?: (what: string) => void
}

/** Tokens of a short question, "Question: what color is the car? Answer:". */
const PROMPT_TOKENS = 10

/** Runs in this thread. `picture` is a picture's file. Throws ArtifactError. */
export async function measure(
  folder: string,
  picture: Uint8Array,
  options: BenchOptions,
): Promise<Benchmark> {
  const { threads, rounds, tokens, onStep = () => {} } = options
  onStep('laying out') // not part of opening: it happens once
  let isMade = false
  const onMaking = () => {
    isMade = true
  }
  const { prepack } = options
  const layout =
    prepack && (await ensurePrepacked(folder, await openArtifact(folder), { ...prepack, onMaking }))
  // What making a layout leaves in the process would be counted, or not, by chance.
  const grownBy = (from: number | null, to: number | null) =>
    isMade || from === null || to === null ? null : to - from
  onStep('opening')
  const before = await anonymousBytes()
  const began = performance.now()
  // What could not be laid out is not tried again while the clock runs.
  const model = await openModel(folder, layout === folder ? { ...options, prepack: undefined } : options)
  const opening = { ms: performance.now() - began, anonymous_bytes: grownBy(before, await anonymousBytes()) }
  try {
    const samples: Record<keyof Benchmark['ms'], number[]> = {
      image: [],
      pixels: [],
      vision: [],
      queries: [],
      prefill: [],
      token: [],
    }
    // Other machines on the same memory come and go: its speed is measured in the same rounds as the token's.
    const bandwidths: number[] = []
    // The first round warms up.
    for (let round = -1; round < rounds; round++) {
      onStep(`round ${Math.max(0, round + 1)} of ${rounds}`)
      const times = await oneRound(model, picture, tokens)
      if (round < 0) continue
      for (const [stage, list] of entries(samples)) list.push(...times[stage])
      bandwidths.push(await readBandwidth(threads))
    }
    const anonymous_bytes = grownBy(before, await anonymousBytes())
    const memory_bytes_per_second = median(bandwidths)
    const ms = Object.fromEntries(
      entries(samples).map(([stage, list]) => [stage, median(list)]),
    ) as Benchmark['ms']
    const [, data] = filesOf(LANGUAGE.graph)
    const bytes_per_token = model.manifest.files.find(({ path }) => path === data)?.sizeBytes ?? 0
    const question_ms = ms.prefill + (tokens - 1) * ms.token
    return {
      model: model.manifest.name,
      precision: model.manifest.precision,
      threads,
      rounds,
      opening,
      ms,
      prefill_positions: model.manifest.sizes.queries + PROMPT_TOKENS,
      tokens_per_second: 1000 / ms.token,
      caption_ms: ms.image + ms.pixels + ms.vision + ms.queries + question_ms,
      question_ms,
      tokens,
      bytes_per_token,
      memory_bytes_per_second,
      over_bandwidth: ms.token / ((1000 * bytes_per_token) / memory_bytes_per_second),
      anonymous_bytes,
    }
  } finally {
    await model.close()
  }
}

async function oneRound(
  model: Model,
  picture: Uint8Array,
  tokens: number,
): Promise<Record<keyof Benchmark['ms'], number[]>> {
  const [rgb, image] = await timed(() => decode(picture, AS_SEEN))
  const [pixels, resize] = await timed(() => toPixels(rgb, model.preprocessorConfig))
  const [seen, vision] = await timed(() => runVision(model.vision, pixels))
  const [{ prefix }, queries] = await timed(() => runQueries(model.queries, seen))
  const ids = new Array<number>(PROMPT_TOKENS).fill(model.manifest.tokens.bos_token_id)
  const [{ decoder }, prefill] = await timed<{ decoder: Decoder; step: Step }>(() =>
    Decoder.prefill(model, [{ prefix: prefix.data, ids }]),
  )
  const token: number[] = []
  for (let i = 1; i < tokens; i++) token.push((await timed(() => decoder.step(ids.slice(0, 1), [0])))[1])
  return { image: [image], pixels: [resize], vision: [vision], queries: [queries], prefill: [prefill], token }
}

async function timed<T>(work: () => T | Promise<T>): Promise<[T, number]> {
  const began = performance.now()
  const result = await work()
  return [result, performance.now() - began]
}

/** Memory of the process that no file stands behind; null where the system does not tell. */
async function anonymousBytes(): Promise<number | null> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '')
  const kilobytes = /^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]
  return kilobytes === undefined ? null : 1024 * Number(kilobytes)
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

function entries<K extends string, V>(record: Record<K, V>): [K, V][] {
  return Object.entries(record) as [K, V][]
}

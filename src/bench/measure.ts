// An artifact and a picture -> times of the stages, tokens per second and memory on this machine (`glimpse bench`).

import { readFile } from 'node:fs/promises'
import { ENCODER, LANGUAGE, MATCHING, type Manifest, QUERIES, VISION } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import { AS_SEEN, decode } from '../image/decode.ts'
import { toPixels } from '../image/pixels.ts'
import type { KeptPrompt, LanguageModel, PromptCache } from '../run/language-model.ts'
import { runMatching } from '../run/matching.ts'
import { type Model, type OpenOptions, openModel } from '../run/model.ts'
import { ensurePrepacked } from '../run/prepacked.ts'
import { runQueries } from '../run/queries.ts'
import { Tensor } from '../run/tensor.ts'
import { runVision } from '../run/vision.ts'
import { readBandwidth } from './bandwidth.ts'
import { limitOf, measurePeak, type Peaks, productsOf } from './limits.ts'

/**
 * In the order of a caption. `token` is a step of the decoder with the KV cache of all tokens before. A decoder-only model
 * reads a prompt about a new picture in `prefill` and one about a picture seen before in `follow_up`, which give the first
 * token; where the queries read the question, each in `prefill`. An encoder-decoder reads both in `encoder`, which gives none.
 * A model that generates no text has `matching` in place of all after `vision`: picture and one text, read together.
 */
const STAGES = [
  'image',
  'pixels',
  'vision',
  'queries',
  'matching',
  'encoder',
  'prefill',
  'follow_up',
  'token',
] as const
export type Stage = (typeof STAGES)[number]
/** A value for each stage that the model has. */
type Stages<Value = number> = Partial<Record<Stage, Value>>

export interface Benchmark {
  model: string
  precision: string
  threads: number
  rounds: number
  /** Memory in bytes; null if the system does not report it, and in a run that prepacks the weights. */
  opening: { ms: number; anonymous_bytes: number | null }
  /** Medians in milliseconds. */
  ms: Stages
  /** Positions that prefill, the encoder or matching read: of the picture and the text. */
  prefill_positions: number
  /** This and the next five are absent of a model that generates no text. */
  tokens_per_second?: number
  /** Sums of these medians: a caption of a new picture, a caption of and a question about a cached one, of `tokens` tokens. */
  caption_ms?: number
  warm_caption_ms?: number
  question_ms?: number
  tokens: number
  /** Of the weights that each token reads. */
  bytes_per_token?: number
  memory_bytes_per_second: number
  /** Of one large product: of 8-bit integers, or of float32 for an artifact at fp32. */
  operations_per_second: number
  /** Milliseconds that a stage takes at least on this machine (limits.ts), and its time divided by that. */
  limit_ms: Stages
  times_the_limit: Stages
  anonymous_bytes: number | null
}

interface BenchOptions extends OpenOptions {
  threads: number
  rounds: number
  tokens: number
  onStep?: (what: string) => void
}

/** As many as in "Question: what color is the car? Answer:". */
const PROMPT_TOKENS = 10
/** Tokens with which all questions begin: the begin token of OPT. */
const SHARED_TOKENS = 1

/** Runs in this thread. `picture`: the bytes of a picture's file. @throws ArtifactError */
export async function measure(
  folder: string,
  picture: Uint8Array,
  options: BenchOptions,
): Promise<Benchmark> {
  const { threads, rounds, tokens, onStep = () => {} } = options
  onStep('prepacking') // happens once, so it is not part of opening
  let hasPrepacked = false
  const onMaking = () => {
    hasPrepacked = true
  }
  const { prepack } = options
  const opened =
    prepack && (await ensurePrepacked(folder, await openArtifact(folder), { ...prepack, onMaking }))
  // Prepacking leaves an unknown amount of memory in the process, so its run reports no growth.
  const growth = (from: number | null, to: number | null) =>
    hasPrepacked || from === null || to === null ? null : to - from
  onStep('opening')
  const before = await anonymousBytes()
  const startMs = performance.now()
  // Without a prepacked folder, openModel would try to prepack again while its time is measured.
  const model = await openModel(folder, opened === folder ? { ...options, prepack: undefined } : options)
  const opening = { ms: performance.now() - startMs, anonymous_bytes: growth(before, await anonymousBytes()) }
  try {
    const measured: Stages<number[]>[] = []
    // On a shared machine both change with time, so each round measures them next to the stages.
    const bandwidths: number[] = []
    const operations: number[] = []
    const peakOf = model.manifest.precision === 'fp32' ? 'float32' : 'int8'
    // Round 0 warms up.
    for (let round = 0; round <= rounds; round++) {
      onStep(`round ${round} of ${rounds}`)
      const times = await oneRound(model, picture, tokens)
      if (round === 0) continue
      measured.push(times)
      bandwidths.push(await readBandwidth(threads))
      operations.push(await measurePeak(peakOf, threads))
    }
    const anonymous_bytes = growth(before, await anonymousBytes())
    const memory_bytes_per_second = median(bandwidths)
    const ms = medians(measured)
    const operations_per_second = median(operations)
    const peaks = { operationsPerSecond: operations_per_second, bytesPerSecond: memory_bytes_per_second }
    const limit_ms = await limitsOf(folder, model.manifest, peaks, PROMPT_TOKENS)
    const bytesPerToken = async () =>
      (await productsOf(folder, LANGUAGE.graph)).reduce((sum, { bytes }) => sum + bytes, 0)
    return {
      model: model.manifest.name,
      precision: model.manifest.precision,
      threads,
      rounds,
      opening,
      ms,
      prefill_positions: model.manifest.queries.count + PROMPT_TOKENS,
      ...(ms.token !== undefined && {
        tokens_per_second: 1000 / ms.token,
        ...totals(ms, tokens, model.manifest.queries.reads_text),
        bytes_per_token: await bytesPerToken(),
      }),
      tokens,
      memory_bytes_per_second,
      operations_per_second,
      limit_ms,
      times_the_limit: mapped(limit_ms, (limit, stage) => ms[stage]! / limit),
      anonymous_bytes,
    }
  } finally {
    await model.close()
  }
}

/** Sums of stages: see Benchmark. With `readsText`, the queries read each question. */
export function totals(
  ms: Stages,
  tokens: number,
  readsText: boolean,
): Required<Pick<Benchmark, 'caption_ms' | 'warm_caption_ms' | 'question_ms'>> {
  const sum = (...stages: Stage[]) => stages.reduce((all, stage) => all + (ms[stage] ?? 0), 0)
  const steps = (count: number) => count * sum('token')
  const answer = ms.encoder === undefined ? steps(tokens - 1) : sum('encoder') + steps(tokens)
  const keepsPrompt = ms.follow_up !== undefined
  return {
    caption_ms: sum('image', 'pixels', 'vision', 'queries', 'prefill') + answer,
    // Of a prompt that is kept, a decoder reads the last token again.
    warm_caption_ms: keepsPrompt ? steps(tokens) : sum('prefill') + answer,
    question_ms: (readsText ? sum('queries') : 0) + sum(keepsPrompt ? 'follow_up' : 'prefill') + answer,
  }
}

/** The least time of each stage that runs a graph, from the weights of the artifact's graphs, for so long a prompt. */
export async function limitsOf(
  folder: string,
  { vision, queries, language }: Manifest,
  peaks: Peaks,
  promptTokens: number,
): Promise<Stages> {
  const limit = async (graph: string, positions: (name: string) => number) =>
    limitOf(await productsOf(folder, graph), ({ name }) => positions(name), peaks)
  // Logits are computed for the last position only.
  const isHead = (name: string) => /(^|\.)(lm_head|embed_tokens|shared)\//.test(name)
  const prefill = (positions: number) => limit(LANGUAGE.graph, (name) => (isHead(name) ? 1 : positions))
  const ofVision = { vision: await limit(VISION.graph, () => vision.patches) }
  const beside = (graph: string, positions: number) =>
    limit(graph, (name) => (/crossattention.*key/.test(name) ? vision.patches : positions))
  if (language.kind === 'none')
    return { ...ofVision, matching: await beside(MATCHING.graph, queries.count + promptTokens) }
  return {
    ...ofVision,
    queries: await beside(QUERIES.graph, queries.count),
    ...(language.kind === 'encoder-decoder'
      ? { encoder: await limit(ENCODER.graph, () => queries.count + promptTokens) }
      : {
          prefill: await prefill(queries.count + promptTokens),
          ...(!queries.reads_text && { follow_up: await prefill(promptTokens - SHARED_TOKENS) }),
        }),
    token: await limit(LANGUAGE.graph, () => 1),
  }
}

function medians(rounds: readonly Stages<number[]>[]): Stages {
  return mapped(rounds[0]!, (_, stage) => median(rounds.flatMap((times) => times[stage]!)))
}

function mapped<From, To>(stages: Stages<From>, of: (value: From, stage: Stage) => To): Stages<To> {
  const present = STAGES.filter((stage) => stages[stage] !== undefined)
  return Object.fromEntries(present.map((stage) => [stage, of(stages[stage]!, stage)]))
}

/** Times in milliseconds by stage; of `token` one for each token after the first. */
async function oneRound(model: Model, picture: Uint8Array, tokens: number): Promise<Stages<number[]>> {
  const [rgb, image] = await timed(() => decode(picture, AS_SEEN))
  const [{ data, dims }, resize] = await timed(() => toPixels(rgb, model.preprocessorConfig))
  const pixels = Tensor.float32(data, dims)
  const [seen, vision] = await timed(() => runVision(model.sessions[VISION.graph]!, pixels))
  const stages = { image: [image], pixels: [resize], vision: [vision] }
  if (!model.language) {
    const ids = new Array<number>(PROMPT_TOKENS).fill(0)
    const [, matching] = await timed(() =>
      runMatching(model.sessions[MATCHING.graph]!, seen, [ids], [MATCHING.itm_logits]),
    )
    return { ...stages, matching: [matching] }
  }
  const texts = model.manifest.queries.reads_text ? [new Array<number>(PROMPT_TOKENS).fill(0)] : undefined
  const [outputs, queries] = await timed(() =>
    runQueries(model.sessions[QUERIES.graph]!, seen, [QUERIES.prefix], texts),
  )
  const own = await readAndGenerate(model.manifest, model.language, outputs[QUERIES.prefix]!, tokens)
  return { ...stages, queries: [queries], ...own }
}

async function readAndGenerate(manifest: Manifest, language: LanguageModel, prefix: Tensor, tokens: number) {
  const [id] = language.start([])
  let kept: KeptPrompt | undefined
  const promptCache: PromptCache = {
    get: () => kept,
    set(prompt) {
      kept = prompt
    },
  }
  const read = async (ownId: number) => {
    const ids = Array.from({ length: PROMPT_TOKENS }, (_, i) => (i < SHARED_TOKENS ? id! : ownId))
    const startMs = performance.now()
    let encoder: number | undefined
    const [row] = await language.prefill([{ prefix, ids, promptCache }], () => {
      // Called between the encoder and the first step of its decoder.
      encoder = performance.now() - startMs
    })
    return { state: row!.state, encoder, ms: performance.now() - startMs }
  }
  const first = await read(0)
  let { state } = first
  const token: number[] = []
  for (let i = 1; i < tokens; i++) {
    const [[next], ms] = await timed(() => language.step([state], [id!]))
    state = next!.state
    token.push(ms)
  }
  if (first.encoder !== undefined) return { encoder: [first.encoder], token }
  if (manifest.queries.reads_text) return { prefill: [first.ms], token }
  return { prefill: [first.ms], token, follow_up: [(await read(1)).ms] }
}

async function timed<T>(work: () => T | Promise<T>): Promise<[T, number]> {
  const startMs = performance.now()
  const result = await work()
  return [result, performance.now() - startMs]
}

/** Memory of the process that is not mapped from a file (RssAnon, Linux); null if the system does not report it. */
async function anonymousBytes(): Promise<number | null> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '')
  const kilobytes = /^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]
  return kilobytes === undefined ? null : 1024 * Number(kilobytes)
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

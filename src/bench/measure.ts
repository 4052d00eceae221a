// An artifact and a picture -> times of the stages, tokens per second and memory on this machine (`glimpse bench`).

import { readFile } from 'node:fs/promises'
import { type Manifest, QUERIES, VISION } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import { AS_SEEN, decode } from '../image/decode.ts'
import { toPixels } from '../image/pixels.ts'
import { filesOf } from '../onnx/write.ts'
import { type Model, type OpenOptions, openModel } from '../run/model.ts'
import { ensurePrepacked } from '../run/prepacked.ts'
import { runQueries } from '../run/queries.ts'
import { Tensor } from '../run/tensor.ts'
import { runVision } from '../run/vision.ts'
import { readBandwidth } from './bandwidth.ts'
import { limitOf, measurePeak, type Peaks, productsOf } from './limits.ts'

const STAGES = ['image', 'pixels', 'vision', 'queries', 'prefill', 'token'] as const
type Stage = (typeof STAGES)[number]
/** Stages that run a graph. */
const LIMITED = ['vision', 'queries', 'prefill', 'token'] as const
type Limited = (typeof LIMITED)[number]

export interface Benchmark {
  model: string
  precision: string
  threads: number
  rounds: number
  /** Memory in bytes; null if the system does not report it, and in a run that prepacks the weights. */
  opening: { ms: number; anonymous_bytes: number | null }
  /** Medians in milliseconds. `token`: one decode step with the KV cache of all tokens before. */
  ms: Record<Stage, number>
  /** Positions that prefill reads: of the image embeddings and the prompt. */
  prefill_positions: number
  tokens_per_second: number
  /** Sums of these medians: a caption of a new picture, and a question about a cached one, of `tokens` tokens each. */
  caption_ms: number
  question_ms: number
  tokens: number
  /** Size of the language model's weights, which each token reads once. */
  bytes_per_token: number
  memory_bytes_per_second: number
  /** Of one large product: of 8-bit integers, or of float32 for an artifact at fp32. */
  operations_per_second: number
  /** Milliseconds that a stage takes at least on this machine (limits.ts), and its time divided by that. */
  limit_ms: Record<Limited, number>
  times_the_limit: Record<Limited, number>
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
    const measured: Record<Stage, number[]>[] = []
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
    const ms = Object.fromEntries(
      STAGES.map((stage) => [stage, median(measured.flatMap((times) => times[stage]))]),
    ) as Benchmark['ms']
    const operations_per_second = median(operations)
    const { graphs, queries } = model.manifest
    // The last graph is the one that each token runs.
    const bytes_per_token = weightBytes(model.manifest, graphs.at(-1)!.name)
    const peaks = { operationsPerSecond: operations_per_second, bytesPerSecond: memory_bytes_per_second }
    const limit_ms = await limitsOf(folder, model.manifest, peaks, queries.count + PROMPT_TOKENS)
    const question_ms = ms.prefill + (tokens - 1) * ms.token
    return {
      model: model.manifest.name,
      precision: model.manifest.precision,
      threads,
      rounds,
      opening,
      ms,
      prefill_positions: queries.count + PROMPT_TOKENS,
      tokens_per_second: 1000 / ms.token,
      caption_ms: ms.image + ms.pixels + ms.vision + ms.queries + question_ms,
      question_ms,
      tokens,
      bytes_per_token,
      memory_bytes_per_second,
      operations_per_second,
      limit_ms,
      times_the_limit: Object.fromEntries(
        LIMITED.map((stage) => [stage, ms[stage] / limit_ms[stage]]),
      ) as Benchmark['limit_ms'],
      anonymous_bytes,
    }
  } finally {
    await model.close()
  }
}

/** The least time of each stage that runs a graph, from the weights of the artifact's graphs. */
export async function limitsOf(
  folder: string,
  manifest: Manifest,
  peaks: Peaks,
  prefillPositions: number,
): Promise<Benchmark['limit_ms']> {
  const { vision, queries, graphs } = manifest
  const limit = async (graph: string, positions: (name: string) => number) => {
    const products = await productsOf(folder, graph)
    return limitOf(products, ({ name }) => positions(name), weightBytes(manifest, graph), peaks)
  }
  // Logits are computed for the last position only.
  const isHead = (name: string) => /(^|\.)(lm_head|embed_tokens|shared)\//.test(name)
  const language = graphs.at(-1)!.name
  return {
    vision: await limit(VISION.graph, () => vision.patches),
    queries: await limit(QUERIES.graph, (name) =>
      /crossattention.*key/.test(name) ? vision.patches : queries.count,
    ),
    prefill: await limit(language, (name) => (isHead(name) ? 1 : prefillPositions)),
    token: await limit(language, () => 1),
  }
}

function weightBytes({ files }: Manifest, graph: string): number {
  return files.find(({ path }) => path === filesOf(graph)[1])?.sizeBytes ?? 0
}

/** Times in milliseconds by stage; of `token` one for each token after the first. */
async function oneRound(model: Model, picture: Uint8Array, tokens: number): Promise<Record<Stage, number[]>> {
  const [rgb, image] = await timed(() => decode(picture, AS_SEEN))
  const [{ data, dims }, resize] = await timed(() => toPixels(rgb, model.preprocessorConfig))
  const pixels = Tensor.float32(data, dims)
  const [seen, vision] = await timed(() => runVision(model.sessions[VISION.graph]!, pixels))
  const [outputs, queries] = await timed(() =>
    runQueries(model.sessions[QUERIES.graph]!, seen, [QUERIES.prefix]),
  )
  const language = model.language!
  const [id] = language.start([])
  const ids = new Array<number>(PROMPT_TOKENS).fill(id!)
  const prompt = { prefix: outputs[QUERIES.prefix]!, ids }
  let [[row], prefill] = await timed(() => language.prefill([prompt]))
  const token: number[] = []
  for (let i = 1; i < tokens; i++) {
    const [[next], ms] = await timed(() => language.step([row!.state], [id!]))
    row = next
    token.push(ms)
  }
  return { image: [image], pixels: [resize], vision: [vision], queries: [queries], prefill: [prefill], token }
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

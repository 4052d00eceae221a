// The whole path: image -> pixels -> vision -> queries -> tokens -> reply, for a batch of requests.
//
// A picture that several requests share is encoded once; pictures run through the vision graph, and rows through the
// language model, in batches. Each request gets the tokens that it would get alone, and fails alone. Tokens become text
// in `textStreamer` while they are generated; model-process.ts sends each piece to the engine.

import { BusyError, RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { AS_SEEN, decode } from '../image/decode.ts'
import { type Pixels, toPixels } from '../image/pixels.ts'
import { generate, resolveEosTokenIds } from '../run/generate.ts'
import { imagesPerRun } from '../run/micro-batch.ts'
import type { Model } from '../run/model.ts'
import { runQueries } from '../run/queries.ts'
import { concat } from '../run/session.ts'
import { completeSettings, type GenerationSettings } from '../generation-settings.ts'
import { runVision } from '../run/vision.ts'
import type { EncoderCache } from './encoder-cache.ts'
import { fitPrompt } from './fit-prompt.ts'
import type { InferenceRequest, InferenceResult } from './request.ts'
import { type Stopwatch, stopwatch, timed } from './timings.ts'

export interface RequestHooks {
  /** Called between stages and tokens. Throws when the request was cancelled. */
  check: () => void
  /** Receives each new piece of text. Called only for a request that runs alone, for one sequence without beams. */
  onToken?: (text: string) => void
}

export type RequestResult = { reply: InferenceResult } | { error: unknown }

/** @throws RequestError about picture, question or settings; what `hooks.check` throws */
export async function runOne(
  model: Model,
  cache: EncoderCache,
  request: InferenceRequest,
  hooks: RequestHooks,
): Promise<InferenceResult> {
  const outcomes: RequestResult[] = []
  await runBatch(model, cache, [{ request, hooks }], (_, outcome) => outcomes.push(outcome))
  const [outcome] = outcomes
  if (outcome && 'reply' in outcome) return outcome.reply
  throw outcome?.error
}

/** Calls `onResult` once for each item, as soon as its result is known. */
export async function runBatch(
  model: Model,
  cache: EncoderCache,
  items: readonly { request: InferenceRequest; hooks: RequestHooks }[],
  onResult: (index: number, outcome: RequestResult) => void,
): Promise<void> {
  const requests: ActiveRequest[] = []
  for (const [index, { request, hooks }] of items.entries()) {
    try {
      requests.push(prepare(model, request, hooks, (outcome) => onResult(index, outcome)))
    } catch (error) {
      onResult(index, { error })
    }
  }
  const misses = await attachCached(cache, requests)
  await decodeAll(model, requests)
  // Requests about the pictures of one run are answered before the next run: they gain nothing from waiting for it.
  const step = imagesPerRun(model)
  for (let at = 0; at < misses.length; at += step) {
    const chunk = misses.slice(at, at + step)
    await encodeImages(model, cache, chunk)
    const encoded = chunk.flatMap((miss) => miss.requests)
    await decodeAll(model, encoded)
  }
}

/** Answers the requests that have a prefix. Rows are generated together when their settings are equal. */
async function decodeAll(model: Model, requests: readonly ActiveRequest[]): Promise<void> {
  const encoded = requests.filter((one) => one.prefix && isActive(one))
  for (const group of groupedBy(encoded, ({ settings }) => JSON.stringify(settings)).values()) {
    await decodeGroup(model, group)
  }
}

interface ActiveRequest {
  request: InferenceRequest
  hooks: RequestHooks
  settings: GenerationSettings
  prompt: string
  ids: readonly number[]
  /** sha256 of the picture. */
  picture: string
  prefix?: Float32Array
  clock: Stopwatch
  isFinished: boolean
  finish(outcome: RequestResult): void
}

function prepare(
  model: Model,
  request: InferenceRequest,
  hooks: RequestHooks,
  onResult: (outcome: RequestResult) => void,
): ActiveRequest {
  const clock = stopwatch()
  const settings = completeSettings(request.settings ?? {})
  checkEosTokenIds(model, settings)
  const { text: prompt, ids } = fitPrompt(model, request)
  const room = model.manifest.sizes.max_positions - model.manifest.sizes.queries - ids.length
  const { image } = request
  return {
    request,
    hooks,
    settings: { ...settings, max_new_tokens: Math.min(settings.max_new_tokens, room) },
    prompt,
    ids,
    picture: image ? sha256Hex(image) : (request.picture ?? ''),
    clock,
    isFinished: false,
    finish(outcome) {
      if (this.isFinished) return
      this.isFinished = true
      onResult(outcome)
    },
  }
}

function isActive(one: ActiveRequest): boolean {
  if (one.isFinished) return false
  try {
    one.hooks.check()
    return true
  } catch (error) {
    one.finish({ error })
    return false
  }
}

/** A picture that is not in the encoder cache, and the requests about it. */
interface CacheMiss {
  picture: string
  image: Uint8Array
  requests: ActiveRequest[]
}

/** Sets the prefix of each request whose picture is cached; returns the other pictures, each once. */
async function attachCached(cache: EncoderCache, requests: readonly ActiveRequest[]): Promise<CacheMiss[]> {
  const pictures = [...groupedBy(requests, ({ picture }) => picture)]
  const misses = await Promise.all(
    pictures.map(async ([picture, about]) => {
      const prefix = await cache.get(picture)
      for (const one of about) one.prefix = prefix
      if (prefix) return []
      const image = about.find(({ request }) => request.image)?.request.image
      if (image) return [{ picture, image, requests: about }]
      const error = new RequestError(
        'picture_forgotten',
        'The picture with this sha256 is no longer cached. Send its bytes as `image`.',
      )
      for (const one of about) one.finish({ error })
      return []
    }),
  )
  return misses.flat()
}

/** Runs vision and queries once for these pictures, and sets the prefix of each request about them. */
async function encodeImages(model: Model, cache: EncoderCache, misses: readonly CacheMiss[]): Promise<void> {
  const ready: { picture: string; requests: ActiveRequest[]; pixels: Pixels }[] = []
  for (const { picture, image, requests } of misses) {
    if (!requests.some(isActive)) continue
    await failAllOnError(requests, async () => {
      const rgb = await timed(requests, 'image', () => decode(image, AS_SEEN))
      if (!requests.some(isActive)) return
      const pixels = await timed(requests, 'pixels', () => toPixels(rgb, model.preprocessorConfig))
      ready.push({ picture, requests, pixels })
    })
  }
  const requests = ready.flatMap((one) => one.requests)
  if (!requests.some(isActive)) return
  await failAllOnError(requests, async () => {
    const data = concat(ready.map(({ pixels }) => pixels.data))
    const [, channels, height, width] = ready[0]!.pixels.dims
    const pixels: Pixels = { data, dims: [ready.length, channels, height, width] }
    const vision = await timed(requests, 'vision', () => runVision(model.vision, pixels))
    if (!requests.some(isActive)) return
    const { prefix } = await timed(requests, 'queries', () => runQueries(model.queries, vision))
    const size = prefix.data.length / ready.length
    await Promise.all(
      ready.map(async ({ picture, requests }, i) => {
        const own = prefix.data.slice(i * size, (i + 1) * size)
        for (const one of requests) one.prefix = own
        await cache.set(picture, own)
      }),
    )
  })
}

/** An error of `work` is the result of each of these requests. */
async function failAllOnError(requests: readonly ActiveRequest[], work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    for (const one of requests) one.finish({ error })
  }
}

/** Map.groupBy, which Node has since version 21. */
function groupedBy(
  requests: readonly ActiveRequest[],
  keyOf: (one: ActiveRequest) => string,
): Map<string, ActiveRequest[]> {
  const groups = new Map<string, ActiveRequest[]>()
  for (const one of requests) groups.set(keyOf(one), [...(groups.get(keyOf(one)) ?? []), one])
  return groups
}

/** Generates the answers of requests with equal settings. */
async function decodeGroup(model: Model, group: readonly ActiveRequest[]): Promise<void> {
  const [{ settings, hooks } = {}] = group
  if (!settings) return
  const began = performance.now()
  const onToken = group.length === 1 ? hooks?.onToken : undefined
  const streamer = onToken && textStreamer(model, resolveEosTokenIds(model.manifest, settings), onToken)
  try {
    await generate(
      model,
      group.map(({ prefix, ids }) => ({ prefix: prefix!, ids })),
      settings,
      {
        check() {
          if (!group.some(isActive)) throw new Error('Every request of the group was cancelled.')
        },
        isWanted: (row) => isActive(group[row]!),
        onDone(row, answers) {
          streamer?.end()
          const one = group[row]!
          one.clock.record('tokens', performance.now() - began)
          one.finish({ reply: replyOf(model, one, answers) })
        },
        onToken: streamer?.put,
      },
      model.nonTokenIds,
    )
  } catch (error) {
    const unanswered = group.filter(isActive)
    // One row can end the run of all, for example when its settings leave no token to choose. Run each alone then.
    const isShared = error instanceof BusyError && error.code === 'out_of_memory'
    if (group.length > 1 && !isShared) for (const one of unanswered) await decodeGroup(model, [one])
    else for (const one of unanswered) one.finish({ error })
  }
}

function replyOf(
  model: Model,
  { prompt, picture, clock }: ActiveRequest,
  answers: readonly number[][],
): InferenceResult {
  const sequences = answers.map((ids) => ({ text: model.tokenizer.decode(ids).trim(), token_ids: ids }))
  const { text, token_ids } = sequences[0]!
  return { text, token_ids, sequences, prompt, timings_ms: clock.read(), model: model.manifest.name, picture }
}

function checkEosTokenIds({ manifest }: Model, settings: GenerationSettings): void {
  const { vocabulary } = manifest.sizes
  const outside = resolveEosTokenIds(manifest, settings).find((id) => id >= vocabulary)
  if (outside === undefined) return
  throw new RequestError(
    'bad_settings',
    `Expected eos_token_id below the model's vocabulary of ${vocabulary} but got ${outside}.`,
  )
}

/** Token ids -> pieces of text. Text that ends amid a character (UTF-8 bytes in several tokens) waits for the rest. */
function textStreamer(model: Model, eosTokenIds: readonly number[], onToken: (text: string) => void) {
  const ids: number[] = []
  let emitted = ''
  const emit = (isLast: boolean) => {
    const decoded = model.tokenizer.decode(ids)
    const endsInPartialCharacter = decoded.endsWith('\ufffd')
    if (endsInPartialCharacter !== isLast) return
    const text = decoded.trimStart()
    if (text.length > emitted.length && text.startsWith(emitted)) onToken(text.slice(emitted.length))
    emitted = text
  }
  return {
    put(id: number) {
      if (eosTokenIds.includes(id)) return
      ids.push(id)
      emit(false)
    },
    /** Emits an incomplete last character as U+FFFD, as the final text has it. */
    end: () => emit(true),
  }
}

// The whole path in one function: image -> pixels -> vision -> queries -> tokens -> reply, for one ask or several at once.
//
// Asks that go together share what can be shared: a picture is looked at once, pictures go through vision and rows
// through the language model side by side. Each gets the answer it would have got alone, and fails alone.

import { BusyError, RequestError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { AS_SEEN, decode } from '../image/decode.ts'
import { type Pixels, toPixels } from '../image/pixels.ts'
import { generate, resolveEosTokenIds } from '../run/generate.ts'
import { imagesPerRun } from '../run/micro-batch.ts'
import type { Model } from '../run/model.ts'
import { runQueries } from '../run/queries.ts'
import { completeSettings, type GenerationSettings } from '../run/settings.ts'
import { runVision } from '../run/vision.ts'
import type { EncoderCache } from './encoder-cache.ts'
import { fitPrompt } from './fit-prompt.ts'
import type { InferenceRequest, InferenceResult } from './request.ts'
import { type Stopwatch, stopwatch, timed } from './timings.ts'

export interface RequestHooks {
  /** Called between stages and tokens: throws once nobody waits for this ask any more. */
  check: () => void
  /** Called with each new piece of text when it is asked alone, has one answer and no beams. */
  onToken?: (text: string) => void
}

export interface BatchItem {
  request: InferenceRequest
  hooks: RequestHooks
}

export type RequestResult = { reply: InferenceResult } | { error: unknown }

/** Throws RequestError about picture, question or settings, and whatever `hooks.check` throws. */
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

/** Calls `onResult` once for each, as soon as it has its answer or cannot have one. */
export async function runBatch(
  model: Model,
  cache: EncoderCache,
  items: readonly BatchItem[],
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
  // Nobody waits for pictures that theirs gains nothing from: each few are answered before the next are looked at.
  for (let at = 0; at < misses.length; at += imagesPerRun(model)) {
    const some = misses.slice(at, at + imagesPerRun(model))
    await encodeImages(model, cache, some)
    await decodeAll(
      model,
      some.flatMap((one) => one.requests),
    )
  }
}

/** Answers those whose pictures have been looked at. */
async function decodeAll(model: Model, requests: readonly ActiveRequest[]): Promise<void> {
  const seen = requests.filter((one) => one.prefix && isActive(one))
  for (const group of groupBySettings(seen)) await decodeGroup(model, group)
}

/** An ask on its way. */
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

/** A picture to be looked at, and who asks about it. */
interface CacheMiss {
  picture: string
  image: Uint8Array
  requests: ActiveRequest[]
}

/** Gives cases the prefixes that are remembered; returns the pictures of the others, each once. */
async function attachCached(cache: EncoderCache, requests: readonly ActiveRequest[]): Promise<CacheMiss[]> {
  const pictures = [...groupedBy(requests, ({ picture }) => picture)]
  const misses = await Promise.all(
    pictures.map(async ([picture, about]) => {
      const prefix = await cache.get(picture)
      for (const one of about) one.prefix = prefix
      if (prefix) return []
      const image = about.find(({ request }) => request.image)?.request.image
      if (image) return [{ picture, image, requests: about }]
      for (const one of about) one.finish({ error: notCached() })
      return []
    }),
  )
  return misses.flat()
}

/** A few pictures, at once through vision and queries. */
async function encodeImages(model: Model, cache: EncoderCache, misses: readonly CacheMiss[]): Promise<void> {
  const ready: { picture: string; requests: ActiveRequest[]; pixels: Pixels }[] = []
  for (const { picture, image, requests } of misses) {
    if (!requests.some(isActive)) continue
    const clocks = requests.map(({ clock }) => clock)
    await failAllOnError(requests, async () => {
      const rgb = await timed(clocks, 'image', () => decode(image, AS_SEEN))
      if (!requests.some(isActive)) return
      ready.push({
        picture,
        requests,
        pixels: await timed(clocks, 'pixels', () => toPixels(rgb, model.preprocessorConfig)),
      })
    })
  }
  const requests = ready.flatMap((one) => one.requests)
  if (!requests.some(isActive)) return
  const clocks = requests.map(({ clock }) => clock)
  await failAllOnError(requests, async () => {
    const pixels = stackPixels(ready.map((one) => one.pixels))
    const vision = await timed(clocks, 'vision', () => runVision(model.vision, pixels))
    if (!requests.some(isActive)) return
    const { prefix } = await timed(clocks, 'queries', () => runQueries(model.queries, vision))
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

/** What fails in `work` fails for these. */
async function failAllOnError(requests: readonly ActiveRequest[], work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    for (const one of requests) one.finish({ error })
  }
}

/** n x [1, 3, H, W] -> [n, 3, H, W] */
function stackPixels(pixels: readonly Pixels[]): Pixels {
  const [first] = pixels
  if (pixels.length === 1) return first!
  const [, ...rest] = first!.dims
  const data = new Float32Array(pixels.length * first!.data.length)
  pixels.forEach((one, i) => {
    data.set(one.data, i * first!.data.length)
  })
  return { data, dims: [pixels.length, ...rest] }
}

/** Rows that are generated together have the same settings, and so the same room. */
function groupBySettings(requests: readonly ActiveRequest[]): ActiveRequest[][] {
  return [...groupedBy(requests, ({ settings }) => JSON.stringify(settings)).values()]
}

/** Map.groupBy, which Node has from 21 on. */
function groupedBy(
  requests: readonly ActiveRequest[],
  keyOf: (one: ActiveRequest) => string,
): Map<string, ActiveRequest[]> {
  const groups = new Map<string, ActiveRequest[]>()
  for (const one of requests) groups.set(keyOf(one), [...(groups.get(keyOf(one)) ?? []), one])
  return groups
}

/** The same settings for all. */
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
          if (!group.some(isActive)) throw new Error('nobody waits for any of them')
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
      { suppressTokens: model.nonTokenIds },
    )
  } catch (error) {
    const left = group.filter(isActive)
    // Settings that leave one row no token to choose, say, end the run for all: then each is asked by itself.
    const isShared = error instanceof BusyError && error.code === 'out_of_memory'
    if (group.length > 1 && !isShared) for (const one of left) await decodeGroup(model, [one])
    else for (const one of left) one.finish({ error })
  }
}

function replyOf(
  model: Model,
  { prompt, picture, clock }: ActiveRequest,
  answers: readonly number[][],
): InferenceResult {
  const sequences = answers.map((token_ids) => ({
    text: model.tokenizer.decode(token_ids).trim(),
    token_ids,
  }))
  const { text, token_ids } = sequences[0]!
  return { text, token_ids, sequences, prompt, timings_ms: clock.read(), model: model.manifest.name, picture }
}

function notCached(): RequestError {
  return new RequestError(
    'picture_forgotten',
    'Expected a picture seen before but it is no longer remembered. Send its bytes.',
  )
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

/** Ids -> pieces of text, each as soon as none of its characters is left half. */
function textStreamer(model: Model, eosTokenIds: readonly number[], onToken: (text: string) => void) {
  const ids: number[] = []
  let emitted = ''
  const emit = () => {
    const text = model.tokenizer.decode(ids).trimStart()
    if (text.length > emitted.length && text.startsWith(emitted)) onToken(text.slice(emitted.length))
    emitted = text
  }
  const endsInPartialCharacter = () => model.tokenizer.decode(ids).endsWith('\ufffd')
  return {
    put(id: number) {
      if (eosTokenIds.includes(id)) return
      ids.push(id)
      if (!endsInPartialCharacter()) emit()
    },
    /** A character that stays half is said as the text shows it. */
    end() {
      if (endsInPartialCharacter()) emit()
    },
  }
}

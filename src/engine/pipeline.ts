// The whole path in one function: image -> pixels -> vision -> queries -> tokens -> reply, for one ask or several at once.
//
// Asks that go together share what can be shared: a picture is looked at once, pictures go through vision and rows
// through the language model side by side. Each gets the answer it would have got alone, and fails alone.

import { createHash } from 'node:crypto'
import { BusyError, RequestError } from '../errors.ts'
import { AS_SEEN, decode } from '../image/decode.ts'
import { type Pixels, toPixels } from '../image/pixels.ts'
import { endsOf, generate } from '../run/generate.ts'
import type { Model } from '../run/model.ts'
import { picturesAtOnce } from '../run/portions.ts'
import { runQueries } from '../run/queries.ts'
import { completeSettings, type GenerationSettings } from '../run/settings.ts'
import { runVision } from '../run/vision.ts'
import type { Memory } from './encoder-cache.ts'
import { fitPrompt } from './fit-prompt.ts'
import type { Ask, Reply } from './request.ts'
import { type Stopwatch, stopwatch, timed } from './timings.ts'

export interface Watch {
  /** Called between stages and tokens: throws once nobody waits for this ask any more. */
  check: () => void
  /** Called with each new piece of text when it is asked alone, has one answer and no beams. */
  onToken?: (text: string) => void
}

export interface Asked {
  ask: Ask
  watch: Watch
}

export type Outcome = { reply: Reply } | { error: unknown }

/** Throws RequestError about picture, question or settings, and whatever `watch.check` throws. */
export async function answer(model: Model, memory: Memory, ask: Ask, watch: Watch): Promise<Reply> {
  const outcomes: Outcome[] = []
  await answerAll(model, memory, [{ ask, watch }], (_, outcome) => outcomes.push(outcome))
  const [outcome] = outcomes
  if (outcome && 'reply' in outcome) return outcome.reply
  throw outcome?.error
}

/** Calls `settle` once for each, as soon as it has its answer or cannot have one. */
export async function answerAll(
  model: Model,
  memory: Memory,
  asked: readonly Asked[],
  settle: (index: number, outcome: Outcome) => void,
): Promise<void> {
  const cases: Case[] = []
  for (const [index, { ask, watch }] of asked.entries()) {
    try {
      cases.push(prepare(model, ask, watch, (outcome) => settle(index, outcome)))
    } catch (error) {
      settle(index, { error })
    }
  }
  const unseen = await recall(memory, cases)
  await speakAll(model, cases)
  // Nobody waits for pictures that theirs gains nothing from: each few are answered before the next are looked at.
  for (let at = 0; at < unseen.length; at += picturesAtOnce(model)) {
    const some = unseen.slice(at, at + picturesAtOnce(model))
    await look(model, memory, some)
    await speakAll(
      model,
      some.flatMap((one) => one.cases),
    )
  }
}

/** Answers those whose pictures have been looked at. */
async function speakAll(model: Model, cases: readonly Case[]): Promise<void> {
  const seen = cases.filter((one) => one.prefix && isWaiting(one))
  for (const group of alike(seen)) await speak(model, group)
}

/** An ask on its way. */
interface Case {
  ask: Ask
  watch: Watch
  settings: GenerationSettings
  prompt: string
  ids: readonly number[]
  /** sha256 of the picture. */
  picture: string
  prefix?: Float32Array
  clock: Stopwatch
  settled: boolean
  settle(outcome: Outcome): void
}

function prepare(model: Model, ask: Ask, watch: Watch, settle: (outcome: Outcome) => void): Case {
  const clock = stopwatch()
  const settings = completeSettings(ask.settings ?? {})
  checkEnds(model, settings)
  const { text: prompt, ids } = fitPrompt(model, ask)
  const room = model.manifest.sizes.max_positions - model.manifest.sizes.queries - ids.length
  const { image } = ask
  return {
    ask,
    watch,
    settings: { ...settings, max_new_tokens: Math.min(settings.max_new_tokens, room) },
    prompt,
    ids,
    picture: image ? createHash('sha256').update(image).digest('hex') : (ask.picture ?? ''),
    clock,
    settled: false,
    settle(outcome) {
      if (this.settled) return
      this.settled = true
      settle(outcome)
    },
  }
}

function isWaiting(one: Case): boolean {
  if (one.settled) return false
  try {
    one.watch.check()
    return true
  } catch (error) {
    one.settle({ error })
    return false
  }
}

/** A picture to be looked at, and who asks about it. */
interface Unseen {
  picture: string
  image: Uint8Array
  cases: Case[]
}

/** Gives cases the prefixes that are remembered; returns the pictures of the others, each once. */
async function recall(memory: Memory, cases: readonly Case[]): Promise<Unseen[]> {
  const pictures = [...groupedBy(cases, ({ picture }) => picture)]
  const unseen = await Promise.all(
    pictures.map(async ([picture, about]) => {
      const prefix = await memory.get(picture)
      for (const one of about) one.prefix = prefix
      if (prefix) return []
      const image = about.find(({ ask }) => ask.image)?.ask.image
      if (image) return [{ picture, image, cases: about }]
      for (const one of about) one.settle({ error: forgotten() })
      return []
    }),
  )
  return unseen.flat()
}

/** A few pictures, at once through vision and queries. */
async function look(model: Model, memory: Memory, unseen: readonly Unseen[]): Promise<void> {
  const ready: { picture: string; cases: Case[]; pixels: Pixels }[] = []
  for (const { picture, image, cases } of unseen) {
    if (!cases.some(isWaiting)) continue
    const clocks = cases.map(({ clock }) => clock)
    await orFail(cases, async () => {
      const rgb = await timed(clocks, 'image', () => decode(image, AS_SEEN))
      if (!cases.some(isWaiting)) return
      ready.push({
        picture,
        cases,
        pixels: await timed(clocks, 'pixels', () => toPixels(rgb, model.pixelRule)),
      })
    })
  }
  const cases = ready.flatMap((one) => one.cases)
  if (!cases.some(isWaiting)) return
  const clocks = cases.map(({ clock }) => clock)
  await orFail(cases, async () => {
    const pixels = side(ready.map((one) => one.pixels))
    const vision = await timed(clocks, 'vision', () => runVision(model.vision, pixels))
    if (!cases.some(isWaiting)) return
    const { prefix } = await timed(clocks, 'queries', () => runQueries(model.queries, vision))
    const size = prefix.data.length / ready.length
    await Promise.all(
      ready.map(async ({ picture, cases }, i) => {
        const own = prefix.data.slice(i * size, (i + 1) * size)
        for (const one of cases) one.prefix = own
        await memory.set(picture, own)
      }),
    )
  })
}

/** What fails in `work` fails for these. */
async function orFail(cases: readonly Case[], work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    for (const one of cases) one.settle({ error })
  }
}

/** n x [1, 3, H, W] -> [n, 3, H, W] */
function side(pixels: readonly Pixels[]): Pixels {
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
function alike(cases: readonly Case[]): Case[][] {
  return [...groupedBy(cases, ({ settings }) => JSON.stringify(settings)).values()]
}

/** Map.groupBy, which Node has from 21 on. */
function groupedBy(cases: readonly Case[], keyOf: (one: Case) => string): Map<string, Case[]> {
  const groups = new Map<string, Case[]>()
  for (const one of cases) groups.set(keyOf(one), [...(groups.get(keyOf(one)) ?? []), one])
  return groups
}

/** The same settings for all. */
async function speak(model: Model, group: readonly Case[]): Promise<void> {
  const [{ settings, watch } = {}] = group
  if (!settings) return
  const began = performance.now()
  const onToken = group.length === 1 ? watch?.onToken : undefined
  const spoken = onToken && speaker(model, endsOf(model.manifest, settings), onToken)
  try {
    await generate(
      model,
      group.map(({ prefix, ids }) => ({ prefix: prefix!, ids })),
      settings,
      {
        check() {
          if (!group.some(isWaiting)) throw new Error('nobody waits for any of them')
        },
        isWanted: (row) => isWaiting(group[row]!),
        onDone(row, answers) {
          spoken?.finish()
          const one = group[row]!
          one.clock.note('tokens', performance.now() - began)
          one.settle({ reply: replyOf(model, one, answers) })
        },
        onToken: spoken?.hear,
      },
      { forbidden: model.unreal },
    )
  } catch (error) {
    const left = group.filter(isWaiting)
    // Settings that leave one row no token to choose, say, end the run for all: then each is asked by itself.
    const isShared = error instanceof BusyError && error.code === 'out_of_memory'
    if (group.length > 1 && !isShared) for (const one of left) await speak(model, [one])
    else for (const one of left) one.settle({ error })
  }
}

function replyOf(model: Model, { prompt, picture, clock }: Case, answers: readonly number[][]): Reply {
  const sequences = answers.map((token_ids) => ({
    text: model.tokenizer.decode(token_ids).trim(),
    token_ids,
  }))
  const { text, token_ids } = sequences[0]!
  return { text, token_ids, sequences, prompt, timings_ms: clock.read(), model: model.manifest.name, picture }
}

function forgotten(): RequestError {
  return new RequestError(
    'picture_forgotten',
    'Expected a picture seen before but it is no longer remembered. Send its bytes.',
  )
}

function checkEnds({ manifest }: Model, settings: GenerationSettings): void {
  const { vocabulary } = manifest.sizes
  const outside = endsOf(manifest, settings).find((id) => id >= vocabulary)
  if (outside === undefined) return
  throw new RequestError(
    'bad_settings',
    `Expected eos_token_id below the model's vocabulary of ${vocabulary} but got ${outside}.`,
  )
}

/** Ids -> pieces of text, each as soon as none of its characters is left half. */
function speaker(model: Model, endIds: readonly number[], onToken: (text: string) => void) {
  const ids: number[] = []
  let said = ''
  const speak = () => {
    const text = model.tokenizer.decode(ids).trimStart()
    if (text.length > said.length && text.startsWith(said)) onToken(text.slice(said.length))
    said = text
  }
  const isHalf = () => model.tokenizer.decode(ids).endsWith('\ufffd')
  return {
    hear(id: number) {
      if (endIds.includes(id)) return
      ids.push(id)
      if (!isHalf()) speak()
    },
    /** A character that stays half is said as the text shows it. */
    finish() {
      if (isHalf()) speak()
    },
  }
}

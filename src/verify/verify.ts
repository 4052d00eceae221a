// An artifact beside what transformers computed: every stage, every token.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ArtifactError } from '../errors.ts'
import { AS_TRANSFORMERS, decode } from '../image/decode.ts'
import { type Pixels, toPixels } from '../image/pixels.ts'
import { Decoder, type PromptRow } from '../run/decoder.ts'
import { contextOf, generate, resolveEosTokenIds } from '../run/generate.ts'
import { processorsFor, softmax } from '../run/logits-processors.ts'
import type { Model } from '../run/model.ts'
import { type Queries, runQueries } from '../run/queries.ts'
import type { GenerationSettings } from '../run/settings.ts'
import { runVision, type Vision } from '../run/vision.ts'
import { readPrompts, settingsFor, withoutPadding } from './cases.ts'
import type { Reference } from './reference.ts'

/** Numbers of one stage. */
export interface StageResult {
  stage: 'pixel_values' | 'vision' | 'queries' | 'prefix' | 'logits' | 'chances'
  /** Largest |a - b|. */
  maxAbsoluteError: number
  /** ||a - b|| / ||b|| over all values. */
  relativeError: number
  values: number
}

export interface TokensResult {
  compared: number
  equal: number
  /** The first few that differ. */
  differing: { case: string; expected: number[][]; got: number[][] }[]
}

export interface Comparison {
  stages: StageResult[]
  tokens: TokensResult
}

const MAX_DIFFERING = 3

/**
 * Each stage that the reference holds, from our own result of the stage before. Pictures that are not in `pictures` are taken as the
 * reference's pixels, and then pixels are not compared.
 */
export async function compare(
  model: Model,
  reference: Reference,
  pictures: string,
  onCase: (done: number, total: number) => void = () => {},
): Promise<Comparison> {
  const { description } = reference
  const stages: StageResult[] = []
  const add = (stage: StageResult['stage'], ours: Float32Array[], theirs: Float32Array) =>
    stages.push(errorOf(stage, ours, theirs))

  checkSizes(model, reference)
  const own = await ownPixels(model, description.pictures, pictures)
  const inputs = own ?? recordedPixels(model, reference)
  const vision: Vision[] = []
  const queries: Queries[] = []
  for (const pixels of inputs) {
    const seen = await runVision(model.vision, pixels)
    vision.push(seen)
    queries.push(await runQueries(model.queries, seen))
  }
  const found = {
    pixel_values: own ?? [],
    vision,
    queries: queries.map((one) => one.queries),
    prefix: queries.map(({ prefix }) => prefix),
  }
  for (const [stage, ours] of Object.entries(found) as [StageResult['stage'], { data: Float32Array }[]][]) {
    if (ours.length > 0 && reference.has(stage)) {
      add(
        stage,
        ours.map(({ data }) => data),
        reference.floats(stage),
      )
    }
  }

  const prompts = readPrompts(model, description)
  const row = ({ picture, prompt }: { picture: number; prompt: number }): PromptRow => ({
    prefix: queries[picture]!.prefix.data,
    ids: prompts[prompt]!.ids,
  })
  const logits: { ours: Float32Array[]; theirs: Float32Array }[] = []
  for (const [k, place] of description.logits.entries()) {
    const ours = await Decoder.allLogits(model, row(place))
    const all = reference.floats(`logits.${k}`)
    logits.push({ ours, theirs: withoutPadding(model, all, prompts[place.prompt]!) })
  }
  if (logits.length > 0) {
    const [ours, theirs] = [logits.flatMap((one) => one.ours), joined(logits.map((one) => one.theirs))]
    add('logits', ours, theirs)
  }

  const settingsOf = ({ settings: name, prompt }: { settings: string; prompt: number }) =>
    settingsFor(model, description.settings[name] ?? {}, prompts[prompt]!.ids.length)
  const probs: Float32Array[] = []
  for (const place of description.probs)
    probs.push(await firstTokenProbs(model, row(place), settingsOf(place)))
  if (probs.length > 0) {
    add('chances', probs, joined(description.probs.map((_, k) => reference.floats(`probs.${k}`))))
  }

  const tokens: TokensResult = { compared: 0, equal: 0, differing: [] }
  const total = description.token_ids.length + description.batches.length
  const compareTokens = (
    name: string,
    got: number[][],
    { expected, settings }: { expected: number[][]; settings: GenerationSettings },
  ) => {
    // Without padding of its own transformers fills with the first end token.
    const { pad_token_id } = model.manifest.tokens
    const padId =
      description.pad_token_id ?? pad_token_id ?? resolveEosTokenIds(model.manifest, settings)[0] ?? 0
    const padded = got.map((ids, i) => pad(ids, expected[i]?.length ?? 0, padId))
    const same = JSON.stringify(padded) === JSON.stringify(expected)
    tokens.compared++
    if (same) tokens.equal++
    else if (tokens.differing.length < MAX_DIFFERING) tokens.differing.push({ case: name, expected, got })
    onCase(tokens.compared, total)
  }
  for (const [k, place] of description.token_ids.entries()) {
    const settings = settingsOf(place)
    const [answers] = await generate(model, [row(place)], settings)
    const expected = reference.ids(`token_ids.${k}`)
    compareTokens(`${place.settings}, picture ${place.picture}, prompt ${place.prompt}`, answers!, {
      expected,
      settings,
    })
  }
  for (const [k, batch] of description.batches.entries()) {
    const longest = Math.max(...batch.cases.map(({ prompt }) => prompts[prompt]!.ids.length))
    const settings = settingsFor(model, batch.arguments, longest)
    const answers = await generate(model, batch.cases.map(row), settings)
    compareTokens(
      `batch ${k}`,
      answers.map(([best]) => best!),
      { expected: reference.ids(`batch_token_ids.${k}`), settings },
    )
  }
  return { stages, tokens }
}

/** Throws ArtifactError `other_checkpoint`: numbers of other sizes are of another checkpoint. */
function checkSizes({ manifest }: Model, { description, has, floats }: Reference): void {
  const { queries, query_width, width, image, patches, vision_width } = manifest.sizes
  const sizes = {
    pixel_values: 3 * image[0] * image[1],
    vision: patches * vision_width,
    queries: queries * query_width,
    prefix: queries * width,
  }
  const count = description.pictures.length
  if (Object.entries(sizes).every(([name, size]) => !has(name) || floats(name).length === count * size))
    return
  throw new ArtifactError(
    'other_checkpoint',
    `Expected a reference of ${manifest.name} but this one is of ${description.checkpoint}, which has other sizes. Record one with the checkpoint the artifact was built from.`,
  )
}

/** undefined unless every picture of the reference is there. */
async function ownPixels(
  model: Model,
  names: readonly string[],
  folder: string,
): Promise<Pixels[] | undefined> {
  const files = await Promise.all(
    names.map((name) => (name === '' ? undefined : readFile(join(folder, name)).catch(() => undefined))),
  )
  const found = files.filter((file) => file !== undefined)
  if (found.length < names.length) return undefined
  return Promise.all(
    found.map(async (file) => toPixels(await decode(file, AS_TRANSFORMERS), model.preprocessorConfig)),
  )
}

/** Throws ArtifactError `bad_reference` where there are none. */
function recordedPixels(model: Model, reference: Reference): Pixels[] {
  const { pictures } = reference.description
  if (!reference.has('pixel_values')) {
    const names = pictures.filter((name) => name !== '').join(', ')
    throw new ArtifactError(
      'bad_reference',
      `Expected pixel_values in the reference or its pictures${names && ` (${names})`} on disk but found neither. Give their folder with --pictures.`,
    )
  }
  const [height, width] = model.manifest.sizes.image
  const all = reference.floats('pixel_values')
  const size = 3 * height * width
  return reference.description.pictures.map((_, i) => ({
    data: all.slice(i * size, (i + 1) * size),
    dims: [1, 3, height, width],
  }))
}

/** [V]: what the first token is drawn by. */
async function firstTokenProbs(
  model: Model,
  row: PromptRow,
  settings: GenerationSettings,
): Promise<Float32Array> {
  const { step } = await Decoder.prefill(model, [row])
  const scores = Float32Array.from(step.logits[0]!)
  for (const process of processorsFor(settings, resolveEosTokenIds(model.manifest, settings))) {
    process(scores, contextOf(model, row, []))
  }
  return Float32Array.from(softmax(scores))
}

function errorOf(
  stage: StageResult['stage'],
  ours: readonly Float32Array[],
  theirs: Float32Array,
): StageResult {
  const values = joined(ours)
  let maxAbsoluteError = values.length === theirs.length ? 0 : Number.POSITIVE_INFINITY
  let difference = maxAbsoluteError
  let norm = 0
  for (let i = 0; i < Math.min(values.length, theirs.length); i++) {
    const error = Math.abs(values[i]! - theirs[i]!)
    if (!(error <= maxAbsoluteError)) maxAbsoluteError = error
    difference += error ** 2
    norm += theirs[i]! ** 2
  }
  return {
    stage,
    maxAbsoluteError,
    relativeError: Math.sqrt(difference / (norm || 1)),
    values: theirs.length,
  }
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

function pad(ids: readonly number[], length: number, id: number): number[] {
  return [...ids, ...new Array<number>(Math.max(0, length - ids.length)).fill(id)]
}

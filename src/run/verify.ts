// An artifact beside what transformers computed: every stage, every token.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Reference } from '../checkpoint/reference.ts'
import { ArtifactError } from '../errors.ts'
import { AS_TRANSFORMERS, decode } from '../image/decode.ts'
import { type Pixels, toPixels } from '../image/pixels.ts'
import { generate } from './generate.ts'
import { Decoding, type Row } from './language.ts'
import type { Model } from './model.ts'
import { processorsFor, softmax } from './processors.ts'
import { type Queries, runQueries } from './queries.ts'
import { completeSettings, type GenerationSettings } from './settings.ts'
import { runVision, type Vision } from './vision.ts'

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
 * Each stage goes on from our own result of the stage before. Pictures that are not in `pictures` are taken as the
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
    stages.push(differ(stage, ours, theirs))

  checkSizes(model, reference)
  const recorded = recordedPixels(model, reference)
  const own = await ownPixels(model, description.pictures, pictures)
  if (own)
    add(
      'pixel_values',
      own.map(({ data }) => data),
      reference.floats('pixel_values'),
    )
  const vision: Vision[] = []
  const queries: Queries[] = []
  for (const pixels of own ?? recorded) {
    const seen = await runVision(model.vision, pixels)
    vision.push(seen)
    queries.push(await runQueries(model.queries, seen))
  }
  add(
    'vision',
    vision.map(({ data }) => data),
    reference.floats('vision'),
  )
  add(
    'queries',
    queries.map(({ queries: { data } }) => data),
    reference.floats('queries'),
  )
  add(
    'prefix',
    queries.map(({ prefix: { data } }) => data),
    reference.floats('prefix'),
  )

  const row = ({ picture, prompt }: { picture: number; prompt: number }): Row => ({
    prefix: queries[picture]!.prefix.data,
    ids: description.input_ids[prompt]!,
  })
  const logits: Float32Array[] = []
  for (const place of description.logits) logits.push(...(await Decoding.allLogits(model, row(place))))
  add('logits', logits, joined(description.logits.map((_, k) => reference.floats(`logits.${k}`))))

  const settingsOf = (name: string) =>
    completeSettings(description.settings[name] as Partial<GenerationSettings>)
  const chances: Float32Array[] = []
  for (const place of description.probs)
    chances.push(await firstChances(model, row(place), settingsOf(place.settings)))
  if (chances.length > 0) {
    add('chances', chances, joined(description.probs.map((_, k) => reference.floats(`probs.${k}`))))
  }

  const tokens: TokensResult = { compared: 0, equal: 0, differing: [] }
  const total = description.token_ids.length + description.batches.length
  const tally = (name: string, got: number[][], expected: number[][]) => {
    const padded = got.map((ids, i) => pad(ids, expected[i]?.length ?? 0, description.pad_token_id))
    const same = JSON.stringify(padded) === JSON.stringify(expected)
    tokens.compared++
    if (same) tokens.equal++
    else if (tokens.differing.length < MAX_DIFFERING) tokens.differing.push({ case: name, expected, got })
    onCase(tokens.compared, total)
  }
  for (const [k, place] of description.token_ids.entries()) {
    const [answers] = await generate(model, [row(place)], settingsOf(place.settings))
    tally(
      `${place.settings}, picture ${place.picture}, prompt ${place.prompt}`,
      answers!,
      reference.ids(`token_ids.${k}`),
    )
  }
  for (const [k, batch] of description.batches.entries()) {
    const settings = completeSettings(batch.arguments as Partial<GenerationSettings>)
    const answers = await generate(model, batch.cases.map(row), settings)
    tally(
      `batch ${k}`,
      answers.map(([best]) => best!),
      reference.ids(`batch_token_ids.${k}`),
    )
  }
  return { stages, tokens }
}

/** Throws ArtifactError `other_checkpoint`: numbers of other sizes are of another checkpoint. */
function checkSizes({ manifest }: Model, { description, floats }: Reference): void {
  const { queries, width, image } = manifest.sizes
  const count = description.pictures.length
  if (
    floats('prefix').length === count * queries * width &&
    floats('pixel_values').length === count * 3 * image[0] * image[1]
  )
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
  const files = await Promise.all(names.map((name) => readFile(join(folder, name)).catch(() => undefined)))
  const found = files.filter((file) => file !== undefined)
  if (found.length < names.length) return undefined
  return Promise.all(
    found.map(async (file) => toPixels(await decode(file, AS_TRANSFORMERS), model.pixelRule)),
  )
}

function recordedPixels(model: Model, reference: Reference): Pixels[] {
  const [height, width] = model.manifest.sizes.image
  const all = reference.floats('pixel_values')
  const size = 3 * height * width
  return reference.description.pictures.map((_, i) => ({
    data: all.slice(i * size, (i + 1) * size),
    dims: [1, 3, height, width],
  }))
}

/** [V]: what the first token is drawn by. */
async function firstChances(model: Model, row: Row, settings: GenerationSettings): Promise<Float32Array> {
  const { step } = await Decoding.prefill(model, [row])
  const scores = Float32Array.from(step.logits[0]!)
  const { image_token_id, eos_token_id } = model.manifest.tokens
  const placeholders =
    image_token_id === null ? [] : new Array<number>(model.manifest.sizes.queries).fill(image_token_id)
  for (const process of processorsFor(settings, eos_token_id)) {
    process(scores, { ids: [...placeholders, ...row.ids], newTokens: 0 })
  }
  return Float32Array.from(softmax(scores))
}

function differ(
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

// A model and a reference of what transformers computed -> errors of every stage, and equality of every token sequence.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ArtifactError } from '../errors.ts'
import type { GenerationSettings } from '../generation-settings.ts'
import { AS_TRANSFORMERS, decode } from '../image/decode.ts'
import { type Pixels, toPixels } from '../image/pixels.ts'
import { Decoder, type PromptRow } from '../run/decoder.ts'
import { contextOf, generate, resolveEosTokenIds } from '../run/generate.ts'
import { processorsFor, softmax } from '../run/logits-processors.ts'
import type { Model } from '../run/model.ts'
import { type Queries, runQueries } from '../run/queries.ts'
import { concat } from '../run/session.ts'
import { runVision, type Vision } from '../run/vision.ts'
import { settingsFor } from './generate-arguments.ts'
import type { Reference } from './reference.ts'

/** The error of one stage over all its values. `chances` are the first token's probabilities. */
export interface StageResult {
  stage: 'pixel_values' | 'vision' | 'queries' | 'prefix' | 'logits' | 'chances'
  /** Largest |a - b|. */
  maxAbsoluteError: number
  /** ||a - b|| / ||b||, b of the reference. */
  relativeError: number
  values: number
}

export interface TokensResult {
  /** Token sequences, and how many of them are equal. */
  compared: number
  equal: number
  /** The first MAX_DIFFERING that differ. */
  differing: { case: string; expected: number[][]; got: number[][] }[]
}

export interface Comparison {
  stages: StageResult[]
  tokens: TokensResult
}

const MAX_DIFFERING = 3

/**
 * Compares each stage and each token sequence that the reference holds; a stage's input is the artifact's own output of
 * the stage before. Images are read from the folder `pictures`; if one is missing there, the reference's pixels are used
 * and pixels are not compared. `onCase` is called after each token sequence.
 * @throws ArtifactError `other_checkpoint` or `bad_reference`.
 */
export async function compare(
  model: Model,
  reference: Reference,
  pictures: string,
  onCase: (done: number, total: number) => void = () => {},
): Promise<Comparison> {
  const { description } = reference
  const stages: StageResult[] = []
  const addStage = (stage: StageResult['stage'], actual: Float32Array[], tensors: string[]) => {
    if (actual.length === 0) return
    stages.push(stageResult(stage, concat(actual), concat(tensors.map(reference.floats))))
  }

  checkSizes(model, reference)
  const own = await ownPixels(model, description.pictures, pictures)
  const vision: Vision[] = []
  const queries: Queries[] = []
  for (const pixels of own ?? recordedPixels(model, reference)) {
    vision.push(await runVision(model.vision, pixels))
    queries.push(await runQueries(model.queries, vision.at(-1)!))
  }
  const perPicture: [StageResult['stage'], { data: Float32Array }[]][] = [
    ['pixel_values', own ?? []],
    ['vision', vision],
    ['queries', queries.map((output) => output.queries)],
    ['prefix', queries.map(({ prefix }) => prefix)],
  ]
  for (const [stage, outputs] of perPicture) {
    const actual = outputs.map(({ data }) => data)
    if (reference.has(stage)) addStage(stage, actual, [stage])
  }

  const prompts =
    description.input_ids ?? description.prompts.map((prompt) => model.tokenizer.encodeTrusted(prompt))
  const rowOf = ({ picture, prompt }: { picture: number; prompt: number }): PromptRow => ({
    prefix: queries[picture]!.prefix.data,
    ids: prompts[prompt]!,
  })
  const settingsOf = ({ settings: name, prompt }: { settings: string; prompt: number }) =>
    settingsFor(model, description.settings[name] ?? {}, prompts[prompt]!.length)
  const logits: Float32Array[] = []
  for (const place of description.logits) logits.push(...(await Decoder.allLogits(model, rowOf(place))))
  const namesOf = (tensor: string, places: readonly unknown[]) => places.map((_, k) => `${tensor}.${k}`)
  addStage('logits', logits, namesOf('logits', description.logits))
  const probs: Float32Array[] = []
  for (const place of description.probs)
    probs.push(await firstTokenProbs(model, rowOf(place), settingsOf(place)))
  addStage('chances', probs, namesOf('probs', description.probs))

  const tokens: TokensResult = { compared: 0, equal: 0, differing: [] }
  const total = description.token_ids.length + description.batches.length
  const addTokens = (name: string, got: number[][], expected: number[][], settings: GenerationSettings) => {
    // Without a padding token, transformers pads with the first EOS token.
    const padId =
      description.pad_token_id ??
      model.manifest.tokens.pad_token_id ??
      resolveEosTokenIds(model.manifest, settings)[0] ??
      0
    const padded = got.map((ids, i) => pad(ids, expected[i]?.length ?? 0, padId))
    tokens.compared++
    if (JSON.stringify(padded) === JSON.stringify(expected)) tokens.equal++
    else if (tokens.differing.length < MAX_DIFFERING) tokens.differing.push({ case: name, expected, got })
    onCase(tokens.compared, total)
  }
  for (const [k, place] of description.token_ids.entries()) {
    const settings = settingsOf(place)
    const [answers] = await generate(model, [rowOf(place)], settings)
    const name = `${place.settings}, picture ${place.picture}, prompt ${place.prompt}`
    addTokens(name, answers!, reference.ids(`token_ids.${k}`), settings)
  }
  for (const [k, batch] of description.batches.entries()) {
    const longest = Math.max(...batch.cases.map(({ prompt }) => prompts[prompt]!.length))
    const settings = settingsFor(model, batch.arguments, longest)
    const answers = await generate(model, batch.cases.map(rowOf), settings)
    const best = answers.map(([first]) => first!)
    addTokens(`batch ${k}`, best, reference.ids(`batch_token_ids.${k}`), settings)
  }
  return { stages, tokens }
}

/** @throws ArtifactError `other_checkpoint` if the reference's tensors have other sizes than the artifact's. */
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
    `The reference is of ${description.checkpoint}, whose sizes differ from those of ${manifest.name}. Record a reference with the checkpoint that the artifact was built from.`,
  )
}

/** undefined if a picture of the reference is missing in the folder. */
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

/** @throws ArtifactError `bad_reference` if the reference has no pixels. */
function recordedPixels(model: Model, reference: Reference): Pixels[] {
  const { pictures } = reference.description
  if (!reference.has('pixel_values')) {
    const names = pictures.filter((name) => name !== '').join(', ')
    throw new ArtifactError(
      'bad_reference',
      `Expected pixel_values in the reference, or its pictures${names && ` (${names})`} on disk but found neither. Set the pictures' folder with --pictures.`,
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

/** [V], the probabilities that the first token is sampled by. */
async function firstTokenProbs(
  model: Model,
  row: PromptRow,
  settings: GenerationSettings,
): Promise<Float32Array> {
  const { logits } = await Decoder.prefill(model, [row])
  const scores = Float32Array.from(logits[0]!)
  for (const process of processorsFor(settings, resolveEosTokenIds(model.manifest, settings))) {
    process(scores, contextOf(model, row, []))
  }
  return Float32Array.from(softmax(scores))
}

function stageResult(stage: StageResult['stage'], actual: Float32Array, expected: Float32Array): StageResult {
  let maxAbsoluteError = actual.length === expected.length ? 0 : Number.POSITIVE_INFINITY
  let difference = maxAbsoluteError
  let norm = 0
  for (let i = 0; i < Math.min(actual.length, expected.length); i++) {
    const error = Math.abs(actual[i]! - expected[i]!)
    if (!(error <= maxAbsoluteError)) maxAbsoluteError = error // NaN counts as larger
    difference += error ** 2
    norm += expected[i]! ** 2
  }
  const relativeError = Math.sqrt(difference / (norm || 1))
  return { stage, maxAbsoluteError, relativeError, values: expected.length }
}

function pad(ids: readonly number[], length: number, id: number): number[] {
  return [...ids, ...new Array<number>(Math.max(0, length - ids.length)).fill(id)]
}

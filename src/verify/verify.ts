// An open model and references of what transformers computed -> for each stage how far the model is from it.
//
// A stage is a tensor of the reference. Its input is the model's own output of the stage before; only the ids of a prompt are
// the reference's, so that a difference of tokenizers does not hide in later stages. A stage that a file lacks is not compared.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MATCHING, QUERIES, TEXT, VISION } from '../artifact/contract.ts'
import { reasonOf } from '../checkpoint/files.ts'
import { shapeText, type WholeTensor } from '../checkpoint/safetensors.ts'
import { ArtifactError } from '../errors.ts'
import { AS_TRANSFORMERS, decode } from '../image/decode.ts'
import { toPixels } from '../image/pixels.ts'
import type { Precision } from '../quantize/recipes.ts'
import { generate, resolveEosTokenIds } from '../run/generate.ts'
import type { LanguageModel, PromptRow } from '../run/language-model.ts'
import type { Model } from '../run/model.ts'
import { runQueries } from '../run/queries.ts'
import { Tensor } from '../run/tensor.ts'
import { runVision } from '../run/vision.ts'
import { settingsFor } from './generate-arguments.ts'
import { matching } from './matching.ts'
import { once } from './once.ts'
import { badReference, type Kind, type Reference, rowsOf } from './reference.ts'

/** A stage of floats over all files that have it. */
export interface FloatsResult {
  stage: string
  files: number
  values: number
  /** Largest |a - b|. */
  maxAbsoluteError: number
  /** ||a - b|| / ||b||, b of the reference; of several files the largest. */
  relativeError: number
}

/** A stage of ids over all files that have it. */
export interface IdsResult {
  stage: string
  files: number
  /** Files whose ids are equal. */
  equal: number
  differing: { file: string; expected: number[][]; got: number[][] }[]
}

export interface Comparison {
  stages: (FloatsResult | IdsResult)[]
  /** Pictures that were not found. The reference's own pixels took their place and were not compared. */
  missingPictures: string[]
}

/** How the model computes a stage. undefined: the reference's values have nothing to be compared with. */
type Compute = (run: Run) => Promise<Tensor | number[][] | undefined>

/** For each kind, in the order data passes through them. */
const STAGES: { [kind in Kind]: Record<string, Compute> } = {
  generate: {
    pixel_values: (run) => run.ownPixels(),
    vision: (run) => run.vision(),
    queries: async (run) => (await run.queries())[QUERIES.queries],
    prefix: async (run) => (await run.queries())[QUERIES.prefix],
    qformer_ids: async (run) => run.ownQueryIds(),
    input_ids: async (run) => run.ownPromptIds(),
    encoder: (run) => run.encoder(),
    // An input: what the decoder reads for `logits`.
    decoder_ids: async () => undefined,
    logits: (run) => run.logits(),
    token_ids: (run) => run.tokenIds(),
  },
  itm: {
    pixel_values: (run) => run.ownPixels(),
    vision: (run) => run.matching.vision(),
    queries: async (run) => (await run.matching.picture())[MATCHING.query_hidden],
    text_ids: async (run) => run.matching.ownTextIds(),
    text_hidden: async (run) => (await run.matching.text())[TEXT.text_hidden],
    multimodal: async (run) => (await run.matching.both())[MATCHING.query_hidden],
    itm_logits: async (run) => (await run.matching.both())[MATCHING.itm_logits],
    itc: (run) => run.matching.itc(),
    image_embeds: async (run) => (await run.matching.picture())[MATCHING.image_embeds],
    text_embeds: (run) => run.matching.textEmbed(),
    text_embeds_all: async (run) => (await run.matching.text())[TEXT.text_embeds],
  },
  matrix: {
    itm_logits: async (run) => (await run.matching.matrix()).itm_logits,
    itc: async (run) => (await run.matching.matrix()).itc,
  },
  features: {
    pixel_values: (run) => run.ownPixels(),
    vision: (run) => run.vision(),
    pooled: (run) => run.pooled(),
    queries: async (run) => (await run.queries())[QUERIES.queries],
    input_ids: async (run) => run.ownPromptIds(),
    text_features: (run) => run.textFeatures(),
  },
}

/** Stages that only a model with an encoder has. */
const OF_ENCODER = ['encoder', 'decoder_ids']
/** A stage that only a model has whose queries read the text. */
const OF_QFORMER_TEXT = 'qformer_ids'

/**
 * Compares a model with several references. Pictures are read from the folder that `folderOf` gives for a file.
 * `onFile` is called after each.
 * @throws ArtifactError `other_checkpoint` or `bad_reference`
 */
export async function compare(
  model: Model,
  references: readonly Reference[],
  folderOf: (reference: Reference) => string,
  onFile: () => void = () => {},
): Promise<Comparison> {
  const stages = new Map<string, (FloatsResult | IdsResult)[]>()
  for (const kind of Object.values(STAGES))
    for (const stage of Object.keys(kind)) stages.set(stage, stages.get(stage) ?? [])
  const missing = new Set<string>()
  const visionOf: VisionOf = new Map()
  for (const reference of references) {
    const computes = stagesFor(model, reference)
    checkSizes(model, reference)
    const run = runOf(model, reference, folderOf(reference), visionOf)
    let compared = 0
    for (const [stage, tensor] of reference.tensors) {
      const actual = await computes[stage]!(run)
      if (actual === undefined) continue
      stages.get(stage)!.push(await compareStage(reference, stage, tensor, actual))
      compared++
    }
    if (compared === 0) throw badReference(reference.path, 'it has nothing to compare')
    if (reference.image && !(await run.ownPixels())) missing.add(reference.image)
    onFile()
  }
  const rows = [...stages.values()].filter((results) => results.length > 0)
  return { stages: rows.map((results) => results.reduce(merge)), missingPictures: [...missing] }
}

/** Whether a stage is close enough. Tokens may differ from those of full precision where weights are quantized. */
export function holds(result: FloatsResult | IdsResult, tolerance: number, precision: Precision): boolean {
  if ('relativeError' in result) return result.relativeError <= tolerance
  return result.equal === result.files || (result.stage === 'token_ids' && precision !== 'fp32')
}

/** @throws ArtifactError `other_checkpoint` if the model cannot compute a stage of the reference. */
function stagesFor(
  { manifest, language, queryTokenizer }: Model,
  { path, kind, tensors }: Reference,
): Record<string, Compute> {
  const computes = STAGES[kind]
  const other = (what: string) =>
    new ArtifactError(
      'other_checkpoint',
      `${path} holds ${what}, but ${manifest.name} is of the architecture ${manifest.architecture}, with the tasks ${manifest.tasks.join(', ')}. Record a reference with the checkpoint that the artifact was built from.`,
    )
  const isMatched = kind === 'itm' || kind === 'matrix'
  const canCompute = isMatched ? manifest.matching : kind === 'features' ? language?.textFeatures : language
  if (!canCompute) throw other(`results of the kind ${kind}`)
  const lacks = (name: string) =>
    !computes[name] ||
    (OF_ENCODER.includes(name) && !language?.encode) ||
    (name === OF_QFORMER_TEXT && !queryTokenizer)
  const unknown = [...tensors.keys()].find(lacks)
  if (unknown) throw other(`the stage ${unknown}`)
  return computes
}

/** @throws ArtifactError `other_checkpoint` if the reference's tensors have other sizes than the model's. */
function checkSizes({ manifest }: Model, { path, kind, checkpoint, sizes }: Reference): void {
  const { vision, matching, language, name } = manifest
  const isMatched = kind === 'itm' || kind === 'matrix'
  const queries = isMatched ? matching! : manifest.queries
  const own: Record<string, number> = {
    H: vision.image[0],
    W: vision.image[1],
    P: vision.patches,
    v: vision.width,
    Q: queries.count,
    q: queries.width,
    ...(isMatched && { e: matching!.embedding_width }),
    ...(language.kind !== 'none' && { d: language.width, V: language.vocabulary }),
  }
  const differing = Object.entries(own).filter(([size, value]) => (sizes.get(size) ?? value) !== value)
  if (differing.length === 0) return
  const words = differing.map(([size, value]) => `${size} = ${value} but got ${sizes.get(size)}`)
  throw new ArtifactError(
    'other_checkpoint',
    `${path} is of ${checkpoint ?? 'another checkpoint'}: expected the sizes of ${name}, ${words.join(', ')}. Record a reference with the checkpoint that the artifact was built from.`,
  )
}

/** Outputs of the vision tower by the picture's path: several references may be about one picture. */
type VisionOf = Map<string, Promise<Tensor>>

/** What the model computes for one reference, each at most once. */
type Run = ReturnType<typeof runOf>

function runOf(model: Model, reference: Reference, pictures: string, visionOf: VisionOf) {
  const language = model.language!
  const pixelsOf = async (image: string) => {
    const file = await readFile(join(pictures, image)).catch(() => undefined)
    if (!file) return undefined
    const { data, dims } = toPixels(await decode(file, AS_TRANSFORMERS), model.preprocessorConfig)
    return Tensor.float32(data, dims)
  }
  const ownPixels = once(async () => (reference.image ? await pixelsOf(reference.image) : undefined))
  const runTower = async () =>
    runVision(model.sessions[VISION.graph]!, (await ownPixels()) ?? recordedPixels(reference))
  const vision = once(async () => {
    // Recorded pixels may differ from file to file.
    if (!(await ownPixels())) return await runTower()
    const path = join(pictures, reference.image!)
    const output = visionOf.get(path) ?? runTower()
    visionOf.set(path, output)
    return await output
  })
  const ownQueryIds = () =>
    reference.prompt === undefined ? undefined : model.queryTokenizer?.encodeTrusted(reference.prompt)
  const queries = once(async () => {
    const names = [QUERIES.queries, QUERIES.prefix]
    const recorded = reference.tensors.get(OF_QFORMER_TEXT)
    const texts = model.queryTokenizer && (recorded ? rowsOf(recorded) : [ownQueryIds() ?? noText(reference)])
    return await runQueries(model.sessions[QUERIES.graph]!, await vision(), names, texts)
  })
  const encode = (prompt: string) => language.start(model.tokenizer.encodeTrusted(prompt))
  const row = async (): Promise<PromptRow> => {
    const recorded = reference.tensors.get('input_ids')
    const ids = recorded ? language.start(rowsOf(recorded)[0]!) : encode(reference.prompt ?? '')
    return { prefix: (await queries())[QUERIES.prefix]!, ids }
  }
  const pixels = async () => (await ownPixels()) ?? recordedPixels(reference)
  return {
    ownPixels,
    vision,
    queries,
    matching: matching(model, reference, pixels, pixelsOf),
    pooled: async () =>
      (await model.sessions[VISION.graph]!.run({ [VISION.pixels]: await pixels() }, [VISION.pooled]))[
        VISION.pooled
      ],
    textFeatures: async () => language.textFeatures?.((await row()).ids),
    /** These two: undefined if the reference has only ids. */
    ownQueryIds: () => ownQueryIds() && [ownQueryIds()!],
    ownPromptIds: () => (reference.prompt === undefined ? undefined : [encode(reference.prompt)]),
    encoder: async () => language.encode?.(await row()),
    async logits() {
      const decoderIds = reference.tensors.get('decoder_ids')
      const all = await language.allLogits(await row(), decoderIds && rowsOf(decoderIds)[0])
      const values = new Float32Array(all.length * language.vocabulary)
      for (const [i, logits] of all.entries()) values.set(logits, i * language.vocabulary)
      return Tensor.float32(values, [1, all.length, language.vocabulary])
    },
    /** undefined for sampled tokens, which have no single right answer. */
    async tokenIds() {
      const prompt = await row()
      const settings = readSettings(language, reference, prompt.ids)
      if (settings.do_sample) return undefined
      const [answers] = await generate(language, [{ prompt, settings }])
      // transformers pads several sequences at their end; without a padding token or with the id 0, by the first end token.
      // A pad_token_id of -1 in config.json is no token of the model, but transformers pads with it.
      const isPaddedByMinusOne = reference.tensors.get('token_ids')?.data.some((id) => Number(id) === -1)
      const padId = isPaddedByMinusOne
        ? -1
        : language.padTokenId || resolveEosTokenIds(language, settings)[0] || 0
      const longest = Math.max(...answers!.map(({ length }) => length))
      return answers!.map((ids) => [...ids, ...new Array<number>(longest - ids.length).fill(padId)])
    },
  }
}

function readSettings(
  language: LanguageModel,
  { path, generation }: Reference,
  promptIds: readonly number[],
) {
  try {
    return settingsFor(language, generation, promptIds)
  } catch (cause) {
    throw badReference(path, `its generation cannot be repeated: ${reasonOf(cause)}`, cause)
  }
}

/** @throws ArtifactError `bad_reference` if the reference has no pixels. */
function recordedPixels({ path, image, tensors }: Reference): Tensor {
  const pixels = tensors.get('pixel_values')
  if (pixels) return Tensor.float32(pixels.data as Float32Array, pixels.shape)
  throw badReference(
    path,
    `expected pixel_values in it, or its picture${image ? ` ${image}` : ''} on disk, but found neither; --pictures sets the pictures' folder`,
  )
}

/** @throws ArtifactError `bad_reference`, in place of the ids that the queries read */
function noText({ path }: Reference): never {
  throw badReference(path, `expected ${OF_QFORMER_TEXT} or a prompt for the queries, but found neither`)
}

async function compareStage(
  { path }: Reference,
  stage: string,
  expected: WholeTensor,
  actual: Tensor | number[][],
): Promise<FloatsResult | IdsResult> {
  if (!(actual instanceof Tensor)) {
    const ids = rowsOf(expected)
    const isEqual = JSON.stringify(ids) === JSON.stringify(actual)
    const differing = isEqual ? [] : [{ file: path, expected: ids, got: actual }]
    return { stage, files: 1, equal: Number(isEqual), differing }
  }
  if (shapeText(actual.dims) !== shapeText(expected.shape)) {
    const words = `expected ${stage} as ${shapeText(actual.dims)} for its prompt but got ${shapeText(expected.shape)}`
    throw badReference(path, words)
  }
  const a = await actual.floats()
  const b = expected.data as Float32Array
  let maxAbsoluteError = 0
  let difference = 0
  let norm = 0
  for (let i = 0; i < b.length; i++) {
    const error = Math.abs(a[i]! - b[i]!)
    maxAbsoluteError = Math.max(maxAbsoluteError, error) // NaN if any is
    difference += error ** 2
    norm += b[i]! ** 2
  }
  const relativeError = Math.sqrt(difference / (norm || 1))
  return { stage, files: 1, values: b.length, maxAbsoluteError, relativeError }
}

/** Two results of one stage as one. */
function merge(a: FloatsResult | IdsResult, b: FloatsResult | IdsResult): FloatsResult | IdsResult {
  const files = a.files + b.files
  if ('equal' in a && 'equal' in b) {
    const differing = [...a.differing, ...b.differing]
    return { stage: a.stage, files, equal: a.equal + b.equal, differing }
  }
  const [one, other] = [a, b] as [FloatsResult, FloatsResult]
  return {
    stage: one.stage,
    files,
    values: one.values + other.values,
    // Math.max of NaN is NaN, which no tolerance allows.
    maxAbsoluteError: Math.max(one.maxAbsoluteError, other.maxAbsoluteError),
    relativeError: Math.max(one.relativeError, other.relativeError),
  }
}

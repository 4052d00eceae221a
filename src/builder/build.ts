// A checkpoint's folder -> an artifact: checkpoint -> weights -> model -> quantized graphs -> artifact.
//
// The folder is made next to its destination and renamed when it is complete. A build that fails leaves nothing that
// looks usable, and an earlier artifact stays until the new one replaces it.

import { randomUUID } from 'node:crypto'
import { realpath, rm, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { z } from 'zod'
import {
  FORMAT,
  type GraphDescription,
  MANIFEST,
  type Manifest,
  type ModelDescription,
  manifestSchema,
} from '../artifact/contract.ts'
import { parseJson, readBytes, readJson, readText } from '../checkpoint/files.ts'
import { openSafetensors, type TensorFiles } from '../checkpoint/safetensors.ts'
import { TiedWeightsDiffer, Weights } from '../checkpoint/weights.ts'
import { ArtifactError, SetupError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { PICTURE_RULE, parsePreprocessorConfig } from '../image/pixels.ts'
import type { ModelPlan, TokenizerFiles } from '../model/architecture.ts'
import { planModel } from '../model/architectures.ts'
import type { Graph } from '../onnx/graph.ts'
import { type WrittenFile, writeGraphs } from '../onnx/write.ts'
import { formatOf, type Precision, rulesOf, type Target } from '../quantize/recipes.ts'
import { withWorkers } from '../quantize/worker-pool.ts'
import { openTokenizer, TOKENIZER_FILES, type Tokenizer } from '../tokens/tokenizer.ts'
import { GLIMPSE_VERSION, ONNXRUNTIME_VERSION } from '../versions.ts'
import { asDiskError, checkDestination, makeFolder, moveIntoPlace } from './destination.ts'
import { fitsMemoryBudget, generateSamples } from './smoke-test.ts'
import { filesNotUsedAfter, openJournal, type StreamedWeights, shardOf } from './streamed-weights.ts'

export interface BuildOptions {
  precision: Precision
  /** Default: cpu. */
  target?: Target
  /** The model's name in replies. Default: the name of the checkpoint's folder. */
  name?: string
  /**
   * Whether to smoke-test the artifact before it is put in place. Default: if memory allows. An artifact that generates
   * no text is refused, unless the checkpoint at fp32 generates none either.
   */
  trial?: boolean
  /** Weights that are downloaded during the build. Default: the files in the checkpoint's folder. */
  streamedWeights?: StreamedWeights
  /** The option or setting that errors name for another destination. Default: --out. */
  optionName?: string
  onProgress?: (progress: { graph: string; doneBytes: number; totalBytes: number }) => void
}

/** @throws ArtifactError about the checkpoint, SetupError about the destination, and what `streamedWeights` throws */
export async function buildArtifact(
  checkpoint: string,
  destination: string,
  options: BuildOptions,
): Promise<Manifest> {
  const source = resolve(checkpoint)
  // Of a link to a folder, the folder is replaced.
  const target = await realpath(destination).catch(() => resolve(destination))
  return await withWorkers(() =>
    build(source, target, options).catch((error: unknown) => {
      if (!(error instanceof TiedWeightsDiffer)) throw error
      return build(source, target, options, true)
    }),
  ).catch((error: unknown) => {
    throw asDiskError(error, target, options.optionName)
  })
}

/** With `untied`, the LM head has weights of its own, whatever config.json says. */
async function build(checkpoint: string, target: string, options: BuildOptions, untied = false) {
  const name = options.name ?? basename(checkpoint)
  if (name === '') throw new SetupError('no_name', 'The model has no name. Set --name.')
  await checkDestination(target, options.optionName)
  const configText = await readText(checkpoint, 'config.json')
  if (configText === undefined) {
    throw new ArtifactError(
      'no_checkpoint',
      `${checkpoint} has no config.json. Give the folder of a Hugging Face checkpoint, with config.json and *.safetensors.`,
    )
  }
  const plan = planModel(parseJson(configText, 'config.json'), { untied })
  const { description } = plan
  const preprocessor = await readPreprocessor(checkpoint)
  checkPictures(description, preprocessor)
  for (const tokenizer of plan.tokenizers) {
    checkVocabulary(tokenizer, await openTokenizer(join(checkpoint, tokenizer.folder)))
  }
  const about = await readAbout(checkpoint)
  const known = wordsSchema.parse(about ?? {})

  const { streamedWeights } = options
  const files = await (streamedWeights?.open() ?? openSafetensors(checkpoint))
  const partial = streamedWeights
    ? join(streamedWeights.workplace, 'artifact')
    : `${target}.partial-${randomUUID()}`
  try {
    const { rules, graphs, totalBytes } = graphsOf(plan, files, options.precision, options.target)
    await streamedWeights?.onPlan(totalBytes)
    const journal =
      streamedWeights &&
      (await openJournal(streamedWeights, files, { precision: options.precision, rules, untied }))
    if (!journal || journal.written.size === 0) {
      await rm(partial, { recursive: true, force: true })
      await makeFolder(partial)
    }
    let doneBytes = 0
    const onBytes = (graph: string, count: number) => {
      doneBytes += count
      options.onProgress?.({ graph, doneBytes, totalBytes })
    }
    const rank = ({ sources }: { sources: readonly string[] }) => shardOf(files, sources)
    const written = await writeGraphs(graphs, partial, {
      onBytes,
      rank,
      written: journal?.written,
      onRank: async (shard) => {
        await journal?.add(shard)
        for (const file of filesNotUsedAfter(shard, files, graphs)) await files.release?.(file)
      },
    })
    for (const one of plan.tokenizers) written.push(...(await copyTokenizer(one, checkpoint, partial)))

    const manifest = manifestSchema.parse({
      format: FORMAT,
      name,
      source: {
        checkpoint: streamedWeights?.repository ?? basename(checkpoint),
        commit: streamedWeights?.commit,
        config_sha256: sha256Hex(configText),
        weight_bytes: files.sizeBytes,
      },
      ...description,
      prompt: { ...description.prompt, turns: known.turns ?? description.prompt.turns },
      unknown: [...description.unknown, ...known.unknown],
      graphs: graphs.map(describeGraph),
      precision: options.precision,
      target: options.target,
      recipe: rules.map(({ weights: path, format, reason }) => ({ weights: path.source, format, reason })),
      preprocessor,
      about,
      files: written,
      versions: { glimpse: GLIMPSE_VERSION, onnxruntime: ONNXRUNTIME_VERSION },
    })
    const write = () => writeFile(join(partial, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`)
    await write()
    if (options.trial ?? fitsMemoryBudget(written)) {
      manifest.trial =
        description.language.kind === 'none'
          ? { texts: await generateSamples(partial) }
          : await runSmokeTest(checkpoint, partial, options)
      await write()
    }
    await moveIntoPlace(partial, target, options.optionName)
    return manifest
  } finally {
    await files.close?.()
    if (!streamedWeights) await rm(partial, { recursive: true, force: true })
  }
}

/**
 * Returns undefined if the model's positions leave no room for an answer.
 * @throws ArtifactError `answers_nothing` if the artifact generates no text and the checkpoint at fp32 does, or may do
 */
async function runSmokeTest(checkpoint: string, partial: string, options: BuildOptions) {
  const texts = await generateSamples(partial)
  if (texts.length === 0) return undefined
  const { precision, streamedWeights } = options
  if (precision === 'fp32' || texts.some((text) => text !== '')) return { texts }
  let why = 'its fp32 weights are not kept for a comparison (--keep)'
  if (!streamedWeights || streamedWeights.kept) {
    const fp32 = `${partial}-fp32`
    try {
      const { files } = await buildArtifact(checkpoint, fp32, {
        name: options.name,
        precision: 'fp32',
        trial: false,
      })
      why = 'there is too little memory to compare it with fp32'
      if (fitsMemoryBudget(files)) {
        if ((await generateSamples(fp32)).every((text) => text === '')) return { texts }
        why = 'it generates text at fp32'
      }
    } finally {
      await rm(fp32, { recursive: true, force: true })
    }
  }
  throw new ArtifactError(
    'answers_nothing',
    `The model generates no text at ${precision}, and ${why}. Use another --precision, or --no-trial to accept it.`,
  )
}

/** Bytes of the weights of an artifact, from the checkpoint's configuration and the headers of its weights. */
export function artifactBytes(
  config: unknown,
  files: TensorFiles,
  precision: Precision,
  target?: Target,
): number {
  return graphsOf(planModel(config), files, precision, target).totalBytes
}

/** The graphs of a model, whose weights are read when they are written. */
function graphsOf(plan: ModelPlan, files: TensorFiles, precision: Precision, target?: Target) {
  const rules = rulesOf(plan.recipe, precision, target)
  const graphs = plan.build(new Weights(files, (path) => formatOf(rules, precision, path)))
  const totalBytes = graphs
    .flatMap(({ parts }) => parts.initializers)
    .reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  return { rules, graphs, totalBytes }
}

function describeGraph({ parts: { name, inputs, outputs } }: Graph): GraphDescription {
  return { name, inputs, outputs } as GraphDescription
}

/** transformers 5 saves it inside processor_config.json, and reads it there first. */
async function readPreprocessor(checkpoint: string): Promise<unknown> {
  const nested = Object(await readJson(checkpoint, 'processor_config.json'))['image_processor']
  const found = nested ?? (await readJson(checkpoint, 'preprocessor_config.json'))
  if (found !== undefined) return found
  throw new ArtifactError(
    'no_preprocessor',
    `${checkpoint} has no ${PICTURE_RULE}, which says how pictures are resized. Download it from the checkpoint's repository.`,
  )
}

function checkPictures({ vision }: ModelDescription, preprocessor: unknown): void {
  const { width, height, do_resize } = parsePreprocessorConfig(preprocessor)
  const [rows, columns] = vision.image
  if (do_resize && height === rows && width === columns) return
  const found = do_resize ? `resizes pictures to ${width}x${height}` : 'has do_resize false'
  throw new ArtifactError(
    'bad_config',
    `${PICTURE_RULE} ${found}; vision_config in config.json expects pictures of ${columns}x${rows}. Use the files of one checkpoint.`,
  )
}

/** Published checkpoints pad the embeddings, so vocab_size may be larger than the tokenizer, but not smaller. */
function checkVocabulary({ vocabulary }: TokenizerFiles, { vocabularySize }: Tokenizer): void {
  if (vocabularySize <= vocabulary) return
  throw new ArtifactError(
    'bad_tokenizer',
    `The tokenizer has token ids up to ${vocabularySize - 1}; vocab_size in config.json is ${vocabulary}. Use the files of one checkpoint.`,
  )
}

async function copyTokenizer(
  { folder, prefix }: TokenizerFiles,
  from: string,
  to: string,
): Promise<WrittenFile[]> {
  const copied: WrittenFile[] = []
  for (const name of TOKENIZER_FILES) {
    const bytes = await readBytes(join(from, folder), name)
    if (bytes === undefined) continue
    const path = `${prefix}${name}`
    await writeFile(join(to, path), bytes)
    copied.push({ path, sizeBytes: bytes.length, sha256: sha256Hex(bytes) })
  }
  return copied
}

/** What words.json says of conversations. A value of another type counts as absent. */
const wordsSchema = z
  .object({
    /** Most earlier turns that the model was trained to read. */
    turns: z.number().int().nonnegative().optional().catch(undefined),
    unknown_caption: z.string().optional().catch(undefined),
    unknown_answer: z.string().optional().catch(undefined),
  })
  .transform(({ turns, unknown_caption, unknown_answer }) => ({
    turns,
    unknown: [unknown_caption, unknown_answer].flatMap((text) => text?.toLowerCase() || []),
  }))

async function readAbout(checkpoint: string): Promise<object | undefined> {
  const about = await readJson(checkpoint, 'words.json')
  if (about === undefined || (typeof about === 'object' && about !== null && !Array.isArray(about)))
    return about
  throw new ArtifactError('bad_config', 'words.json does not hold a JSON object. Correct or remove it.')
}

// A checkpoint's folder -> an artifact: checkpoint -> weights -> model -> quantized graphs -> artifact.
//
// The folder is made beside its destination and renamed when it is whole: a broken build leaves nothing that looks
// usable, and an artifact that was there stays until then.

import { randomUUID } from 'node:crypto'
import { realpath, rm, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { FORMAT, MANIFEST, type Manifest, manifestSchema } from '../artifact/contract.ts'
import { type Blip2Config, parseConfig } from '../checkpoint/config.ts'
import { parseJson, readBytes, readJson, readText } from '../checkpoint/files.ts'
import { openSafetensors } from '../checkpoint/safetensors.ts'
import { TiedWeightsDiffer, Weights } from '../checkpoint/weights.ts'
import { ArtifactError, SetupError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { PICTURE_RULE, parsePreprocessorConfig } from '../image/pixels.ts'
import { buildBlip2Graphs } from '../model/blip2.ts'
import { patchCount } from '../model/vision.ts'
import { type WrittenFile, writeGraphs } from '../onnx/write.ts'
import { formatOf, type Precision, recipeFor, type Target } from '../quantize/recipes.ts'
import { withWorkers } from '../quantize/worker-pool.ts'
import { openTokenizer, TOKENIZER_FILES, type Tokenizer } from '../tokens/tokenizer.ts'
import { GLIMPSE_VERSION, ONNXRUNTIME_VERSION } from '../versions.ts'
import { checkDestination, diskError, isFileSystemError, makeFolder, moveIntoPlace } from './destination.ts'
import { fitsMemoryBudget, generateSamples, producesText } from './smoke-test.ts'
import { lastShardUses, openJournal, type StreamedWeights, shardOf } from './streamed-weights.ts'

export interface BuildOptions {
  precision: Precision
  /** What it is to run on; cpu unless told. */
  target?: Target
  /** The name replies carry; the checkpoint folder's unless given. */
  name?: string
  /**
   * Whether to have it generate something before it is put in place; unless told, wherever memory allows. An artifact
   * that says nothing where the checkpoint at fp32 says something, or where that can't be known, is refused.
   */
  trial?: boolean
  /** The head is a table of its own, whatever config.json says. Found out while building: whoever calls need not know. */
  untiedHead?: boolean
  /** Weights that are on their way, in place of files in the checkpoint's folder. */
  streamedWeights?: StreamedWeights
  /** What an error tells to change for another destination; --out unless given. */
  optionName?: string
  onProgress?: (progress: { graph: string; doneBytes: number; totalBytes: number }) => void
}

/**
 * Throws ArtifactError about the checkpoint, SetupError about the destination; of arriving weights TiedWeightsDiffer, where
 * they are to be built with `untiedHead`.
 */
export async function buildArtifact(
  checkpoint: string,
  destination: string,
  options: BuildOptions,
): Promise<Manifest> {
  const source = resolve(checkpoint)
  // Through links: what is replaced is the folder, not the link to it.
  const target = await realpath(destination).catch(() => resolve(destination))
  return await withWorkers(async () => {
    try {
      return await build(source, target, options)
    } catch (error) {
      if (!(error instanceof TiedWeightsDiffer) || options.streamedWeights) throw error
      return await build(source, target, { ...options, untiedHead: true })
    }
  }).catch((error: unknown) => {
    throw isFileSystemError(error) ? diskError(target, error, options.optionName) : error
  })
}

async function build(checkpoint: string, target: string, options: BuildOptions): Promise<Manifest> {
  const name = options.name ?? basename(checkpoint)
  if (name === '') throw new SetupError('no_name', 'Expected a name for the model but got none. Give --name.')
  await checkDestination(target, options.optionName)
  const configText = await readText(checkpoint, 'config.json')
  if (configText === undefined) {
    throw new ArtifactError(
      'no_checkpoint',
      `Expected a Hugging Face checkpoint with config.json in ${checkpoint} but it is missing. Give the folder that holds config.json and *.safetensors.`,
    )
  }
  const described = parseConfig(parseJson(configText, 'config.json'))
  const config = options.untiedHead
    ? { ...described, text: { ...described.text, tie_word_embeddings: false } }
    : described
  const preprocessor = await readPreprocessor(checkpoint)
  checkPictures(config, preprocessor)
  checkVocabulary(config, await openTokenizer(checkpoint))
  const about = await readAbout(checkpoint)

  const { streamedWeights } = options
  const files = streamedWeights?.weights ?? (await openSafetensors(checkpoint))
  const partial = streamedWeights
    ? join(streamedWeights.workplace, 'artifact')
    : `${target}.partial-${randomUUID()}`
  try {
    const weights = new Weights(files, (path) => formatOf(options.precision, path, options.target))
    const graphs = buildBlip2Graphs(config, weights)
    const totalBytes = graphs
      .flatMap(({ parts }) => parts.initializers)
      .reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)

    await streamedWeights?.onPlan(totalBytes)
    const journal = streamedWeights && (await openJournal(streamedWeights, options))
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
    const lastUses = lastShardUses(files, graphs)
    const written = await writeGraphs(graphs, partial, {
      onBytes,
      rank,
      written: journal?.written,
      onRank: async (shard) => {
        await journal?.add(shard)
        for (const [i, file] of files.files.entries()) if (lastUses[i] === shard) await files.release(file)
      },
    })
    written.push(...(await copyTokenizer(checkpoint, partial)))

    const manifest = manifestSchema.parse({
      format: FORMAT,
      name,
      source: {
        checkpoint: streamedWeights?.repository ?? basename(checkpoint),
        commit: streamedWeights?.commit,
        config_sha256: sha256Hex(configText),
        weight_bytes: files.sizeBytes,
      },
      precision: options.precision,
      target: options.target,
      recipe: recipeFor(options.precision, options.target).map(({ weights: path, format, reason }) => ({
        weights: path.source,
        format,
        reason,
      })),
      sizes: sizesOf(config),
      tokens: tokensOf(config),
      preprocessor,
      about,
      files: written,
      versions: { glimpse: GLIMPSE_VERSION, onnxruntime: ONNXRUNTIME_VERSION },
    })
    await writeManifest(partial, manifest)
    if (options.trial ?? fitsMemoryBudget(written)) {
      manifest.trial = await runSmokeTest(checkpoint, partial, options)
      await writeManifest(partial, manifest)
    }
    await moveIntoPlace(partial, target, options.optionName)
    return manifest
  } finally {
    await files.close()
    if (!streamedWeights) await rm(partial, { recursive: true, force: true })
  }
}

async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  await writeFile(join(folder, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`)
}

/** undefined where there is no position to answer in. Throws ArtifactError `answers_nothing` if that is the fault of the precision. */
async function runSmokeTest(
  checkpoint: string,
  partial: string,
  options: BuildOptions,
): Promise<Manifest['trial']> {
  const texts = await generateSamples(partial)
  if (texts.length === 0) return undefined
  const { precision, streamedWeights } = options
  if (precision === 'fp32' || texts.some((text) => text !== '')) return { texts }
  const nothing = (besides: string) =>
    new ArtifactError(
      'answers_nothing',
      `Expected the model to say something at ${precision} but it answers with nothing, ${besides}`,
    )
  if (streamedWeights && !streamedWeights.kept) {
    throw nothing(
      'and there is no fp32 to compare with. Pull it with another --precision, with --keep to compare, or with --no-trial to have it as it is.',
    )
  }
  const asItIs = {
    ...options,
    precision: 'fp32',
    trial: false,
    streamedWeights: undefined,
    onProgress: undefined,
  } as const
  const asItIsSays = await producesText((folder) => build(checkpoint, folder, asItIs), `${partial}-fp32`)
  if (asItIsSays) throw nothing('while at fp32 it does not. Build it with another --precision.')
  if (asItIsSays === undefined) {
    throw nothing(
      'and memory is too short to compare with fp32. Build it with another --precision, or with --no-trial to have it as it is.',
    )
  }
  return { texts }
}

function sizesOf({ vision, qformer, text, num_query_tokens }: Blip2Config): Manifest['sizes'] {
  return {
    image: vision.image_size,
    patches: patchCount(vision),
    vision_width: vision.hidden_size,
    queries: num_query_tokens,
    query_width: qformer.hidden_size,
    width: text.hidden_size,
    layers: text.num_hidden_layers,
    heads: text.num_attention_heads,
    vocabulary: text.vocab_size,
    max_positions: text.max_position_embeddings,
  }
}

/**
 * From config.json alone: BLIP-2's generate() runs that of its language model, which never sees the checkpoint's
 * generation_config.json (transformers 5.18, modeling_blip_2.py line 1820).
 */
function tokensOf({ text, image_token_id }: Blip2Config): Manifest['tokens'] {
  const { bos_token_id, pad_token_id, eos_token_id } = text
  return { bos_token_id, pad_token_id, eos_token_id: [eos_token_id ?? []].flat(), image_token_id }
}

/** Inside processor_config.json, as transformers 5 saves processors and reads first, or in its own file. */
async function readPreprocessor(checkpoint: string): Promise<unknown> {
  const inside = Object(await readJson(checkpoint, 'processor_config.json'))['image_processor']
  const found = inside ?? (await readJson(checkpoint, 'preprocessor_config.json'))
  if (found !== undefined) return found
  throw new ArtifactError(
    'no_preprocessor',
    `Expected ${PICTURE_RULE} in ${checkpoint} but it is missing. It says how pictures are resized: fetch it from where the checkpoint came from.`,
  )
}

function checkPictures({ vision }: Blip2Config, preprocessor: unknown): void {
  const { width, height, do_resize } = parsePreprocessorConfig(preprocessor)
  const [rows, columns] = vision.image_size
  if (!do_resize) {
    throw new ArtifactError(
      'bad_config',
      `Expected ${PICTURE_RULE} to resize pictures to ${columns}x${rows} but do_resize is false. Set it to true.`,
    )
  }
  if (height !== rows || width !== columns) {
    throw new ArtifactError(
      'bad_config',
      `Expected pictures of ${columns}x${rows}, as config.json's vision_config says, but ${PICTURE_RULE} makes them ${width}x${height}. Use the files of one checkpoint.`,
    )
  }
}

/** A table may be longer than the tokenizer, which published checkpoints pad; never shorter. */
function checkVocabulary({ text }: Blip2Config, { vocabularySize }: Tokenizer): void {
  if (vocabularySize <= text.vocab_size) return
  throw new ArtifactError(
    'bad_tokenizer',
    `Expected token ids below config.json's vocab_size ${text.vocab_size} but the tokenizer's go up to ${vocabularySize - 1}. Use the files of one checkpoint.`,
  )
}

async function copyTokenizer(from: string, to: string): Promise<WrittenFile[]> {
  const copied: WrittenFile[] = []
  for (const path of TOKENIZER_FILES) {
    const bytes = await readBytes(from, path)
    if (bytes === undefined) continue
    await writeFile(join(to, path), bytes)
    copied.push({ path, sizeBytes: bytes.length, sha256: sha256Hex(bytes) })
  }
  return copied
}

async function readAbout(checkpoint: string): Promise<object | undefined> {
  const about = await readJson(checkpoint, 'words.json')
  if (about === undefined || (typeof about === 'object' && about !== null && !Array.isArray(about)))
    return about
  throw new ArtifactError(
    'bad_config',
    'Expected a JSON object in words.json but it holds something else. Correct or remove it.',
  )
}

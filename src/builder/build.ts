// A checkpoint's folder -> an artifact: checkpoint -> weights -> model -> quantized graphs -> artifact.
//
// The folder is made next to its destination and renamed when it is complete. A build that fails leaves nothing that
// looks usable, and an earlier artifact stays until the new one replaces it.

import { randomUUID } from 'node:crypto'
import { realpath, rm, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import {
  FORMAT,
  type GraphDescription,
  MANIFEST,
  type Manifest,
  manifestSchema,
} from '../artifact/contract.ts'
import { openSafetensors, type TensorFiles } from '../checkpoint/safetensors.ts'
import { TiedWeightsDiffer } from '../checkpoint/weights.ts'
import { ArtifactError, SetupError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { planModel } from '../model/architectures.ts'
import type { Graph } from '../onnx/graph.ts'
import { writeGraphs } from '../onnx/write.ts'
import type { Precision, Target } from '../quantize/recipes.ts'
import { withWorkers } from '../quantize/worker-pool.ts'
import { GLIMPSE_VERSION, ONNXRUNTIME_VERSION } from '../versions.ts'
import { bytesOf, copyTokenizer, graphsOf, readCheckpoint } from './checkpoint.ts'
import { asDiskError, checkDestination, makeFolder, moveIntoPlace } from './destination.ts'
import { fitsMemoryBudget, generateSamples } from './smoke-test.ts'
import { filesNotUsedAfter, openJournal, type StreamedWeights, shardOf } from './streamed-weights.ts'
import { openMatching } from './with-matching.ts'

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
  /** Folder of a second checkpoint, which matches: the artifact does what both do. See with-matching.ts. */
  matching?: string
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
  const main = await readCheckpoint(checkpoint, untied)
  const { plan, configText, preprocessor, known } = main

  const { streamedWeights } = options
  const files = await (streamedWeights?.open() ?? openSafetensors(checkpoint))
  const partial = streamedWeights
    ? join(streamedWeights.workplace, 'artifact')
    : `${target}.partial-${randomUUID()}`
  try {
    const matching = options.matching ? await openMatching(resolve(options.matching), main, files) : undefined
    const own = graphsOf(plan, files, options.precision, options.target)
    const { rules, graphs } = matching?.join(own, options.precision, options.target) ?? own
    const totalBytes = bytesOf(graphs)
    const description = matching?.description ?? plan.description
    const about = matching?.about ? { ...matching.about, ...main.about } : main.about
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
    if (matching) written.push(...(await matching.copyTokenizers(partial)))

    const manifest = manifestSchema.parse({
      format: FORMAT,
      name,
      source: {
        checkpoint: streamedWeights?.repository ?? basename(checkpoint),
        commit: streamedWeights?.commit,
        config_sha256: sha256Hex(configText),
        weight_bytes: files.sizeBytes + (matching?.sizeBytes ?? 0),
        matching: matching?.source,
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
  return bytesOf(graphsOf(planModel(config), files, precision, target).graphs)
}

function describeGraph({ parts: { name, inputs, outputs } }: Graph): GraphDescription {
  return { name, inputs, outputs } as GraphDescription
}

// `owner/name` on a Hugging Face hub -> an artifact. Few weights are in memory, and two or three files of them on disk.
//
//   repository -> small files, headers -> (file of weights -> graphs) x n -> artifact
//
// Unfinished work is in `<out>.download`, or in the workplace that the caller names. A second run resumes it.

import { mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Manifest } from '../artifact/contract.ts'
import { artifactBytes, type BuildOptions, buildArtifact } from '../builder/build.ts'
import { asDiskError, checkRoom } from '../builder/destination.ts'
import { readJson } from '../checkpoint/files.ts'
import { WEIGHTS, weightFilesAmong } from '../checkpoint/safetensors.ts'
import { RequestError, SetupError } from '../errors.ts'
import { planModel } from '../model/architectures.ts'
import { PRECISIONS, type Precision, type Target } from '../quantize/recipes.ts'
import { interrupted } from '../retry.ts'
import { TOKENIZER_FILES } from '../tokens/tokenizer.ts'
import { download } from './download.ts'
import type { Hub } from './http.ts'
import { describeFile, type HubFile, openRepository, type Repository } from './repository.ts'
import { openShards } from './shards.ts'

/** What the builder reads besides weights, if the repository has it. */
const SMALL_FILES = [
  'config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'words.json',
  ...TOKENIZER_FILES,
]
/**
 * The builder reads these in the folder of `keep`, also when another download left them there. words.json may be the
 * user's own.
 */
const DECIDING = [WEIGHTS, ...SMALL_FILES.filter((name) => name !== 'words.json')]

/** What a download and its build take, known before anything large is fetched. */
export interface PullPlan {
  name: string
  commit: string
  downloadBytes: number
  /** Bytes of the artifact at each precision. */
  artifactBytes: Record<Precision, number>
}

export interface PullOptions extends Pick<BuildOptions, 'target' | 'trial' | 'optionName'> {
  revision: string
  /** A precision, or a function that chooses one. What it throws ends the pull. */
  precision: Precision | ((plan: PullPlan) => Promise<Precision>)
  /** Folder for unfinished work, which a second run resumes. Default: `<out>.download`. */
  workplace?: string
  /** Folder for the full-precision files. By default they are removed once they are built. */
  keep?: string
  /** The model's name in replies. Default: the repository's. */
  name?: string
  /** Bytes of the weights that have arrived, and bytes of the artifact that are built. */
  onProgress?: (progress: { arrived: number; total: number; built: number; toBuild: number }) => void
}

/**
 * @param out folder for the artifact, or the folder for each precision
 * @throws RequestError (no such model, no access), ArtifactError (not a BLIP-2 model that Glimpse builds; found before
 * anything large is fetched), UpstreamError (the hub), SetupError (the disk), BusyError `cancelled`
 */
export async function pull(
  hub: Hub,
  name: string,
  out: string | ((precision: Precision) => string),
  options: PullOptions,
): Promise<Manifest> {
  const targetFor = (precision: Precision) => resolve(typeof out === 'string' ? out : out(precision))
  const workplace = options.workplace ?? `${targetFor('int8')}.download`
  return await fetchAndBuild(hub, name, { targetFor, workplace }, options).catch((error: unknown) => {
    throw asDiskError(error, typeof out === 'string' ? resolve(out) : workplace, options.optionName)
  })
}

interface Folders {
  targetFor: (precision: Precision) => string
  workplace: string
}

async function fetchAndBuild(
  hub: Hub,
  name: string,
  { targetFor, workplace }: Folders,
  options: PullOptions,
) {
  const { revision, keep, onProgress, precision: wanted, workplace: _, ...build } = options
  const repository = await openRepository(hub, name, revision)
  const { commit, files } = repository
  if (!files.includes('config.json')) {
    const message = `${name} has no config.json. Expected a BLIP-2 checkpoint, such as Salesforce/blip2-opt-2.7b.`
    throw new RequestError('not_a_checkpoint', message)
  }
  // Files of another commit in the folder of `keep` have other checksums, and are replaced.
  const folder = keep === undefined ? join(workplace, commit) : resolve(keep)
  await mkdir(workplace, { recursive: true })
  await mkdir(folder, { recursive: true })
  const leftOver = (await readdir(folder)).find((file) => DECIDING.includes(file) && !files.includes(file))
  if (leftOver) {
    const message = `${folder} holds ${leftOver}, which is not a file of ${name} and would be read as one. Remove it, or use another --keep.`
    throw new SetupError('destination_taken', message)
  }
  const fetchSmall = async (path: string) => {
    if (files.includes(path)) await download(repository, await describeFile(repository, path), folder)
  }
  for (const path of SMALL_FILES) await fetchSmall(path)
  // Before anything large is fetched.
  const { tokenizers } = planModel(await readJson(folder, 'config.json'))
  for (const { folder: inner } of tokenizers.filter((one) => one.folder !== '')) {
    await mkdir(join(folder, inner), { recursive: true })
    for (const file of TOKENIZER_FILES) await fetchSmall(`${inner}/${file}`)
  }
  const paths = await weightFilesAmong(files, name, async (path) => {
    await fetchSmall(path)
    return await readJson(folder, path)
  })
  const shards: HubFile[] = []
  for (const path of paths) shards.push(await describeFile(repository, path))
  const total = shards.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const precision =
    typeof wanted === 'string'
      ? wanted
      : await wanted({
          name,
          commit,
          downloadBytes: total,
          artifactBytes: await sizesOf(repository, shards, folder, build.target),
        })
  const target = targetFor(precision)
  const progress = { arrived: 0, total, built: 0, toBuild: 0 }
  const report = (news: Partial<typeof progress>) => {
    if (hub.signal?.aborted) throw interrupted()
    onProgress?.({ ...Object.assign(progress, news) })
  }
  const onBytes = (count: number) => report({ arrived: progress.arrived + count })
  const kept = keep !== undefined
  const manifest = await buildArtifact(folder, target, {
    ...build,
    precision,
    name: build.name ?? name.split('/')[1],
    streamedWeights: {
      open: async () => {
        progress.arrived = 0
        return await openShards(repository, shards, { folder, keep: kept, onBytes })
      },
      workplace,
      repository: name,
      commit,
      kept,
      async onPlan(toBuild) {
        // Without --keep at most three files of weights are on disk at once.
        const sizes = shards.map(({ sizeBytes }) => sizeBytes).sort((a, b) => b - a)
        const neededBytes = sizes.slice(0, kept ? undefined : 3).reduce((sum, size) => sum + size, toBuild)
        await checkRoom(
          dirname(target),
          neededBytes,
          `${target} and the weights on their way`,
          options.optionName,
        )
      },
    },
    onProgress: ({ doneBytes, totalBytes }) => report({ built: doneBytes, toBuild: totalBytes }),
  })
  await rm(workplace, { recursive: true, force: true })
  return manifest
}

/** Bytes of the artifact at each precision, from the headers of the weights. */
async function sizesOf(
  repository: Repository,
  shards: readonly HubFile[],
  folder: string,
  target: Target | undefined,
): Promise<Record<Precision, number>> {
  const files = await openShards(repository, shards, { folder, keep: true, onBytes() {} })
  try {
    const config = await readJson(folder, 'config.json')
    const sizes = PRECISIONS.map((one) => [one, artifactBytes(config, files, one, target)])
    return Object.fromEntries(sizes) as Record<Precision, number>
  } finally {
    await files.close?.()
  }
}

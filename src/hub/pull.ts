// `owner/name` on a Hugging Face hub -> an artifact, in little memory and with two or three files of weights on disk at a time.
//
//   repository -> small files, headers -> (file of weights -> graphs) x n -> artifact
//
// Everything unfinished lies in `<out>.download`: run again, it goes on from there.

import { mkdir, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { Manifest } from '../artifact/contract.ts'
import { buildArtifact } from '../builder/build.ts'
import { diskError, isFileSystemError } from '../builder/destination.ts'
import { parseConfig } from '../checkpoint/config.ts'
import { readJson } from '../checkpoint/files.ts'
import { WEIGHTS, weightFilesAmong } from '../checkpoint/safetensors.ts'
import { TiedWeightsDiffer } from '../checkpoint/weights.ts'
import { RequestError, SetupError } from '../errors.ts'
import type { Precision, Target } from '../quantize/recipes.ts'
import { interrupted } from '../retry.ts'
import { TOKENIZER_FILES } from '../tokens/tokenizer.ts'
import { download } from './download.ts'
import { checkEndpoint, type Hub } from './http.ts'
import { type HubFile, modelInfo, type Repository } from './repository.ts'
import { openShards } from './shards.ts'

/** What the builder reads besides weights, where the repository has it. */
const SMALL_FILES = [
  'config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'words.json',
  ...TOKENIZER_FILES,
]
/** Left in a kept folder by another download, it would count as this checkpoint's. words.json may be the user's own. */
const DECIDING = [WEIGHTS, ...SMALL_FILES.filter((name) => name !== 'words.json')]

export interface PullOptions {
  precision: Precision
  /** What it is to run on; cpu unless told. */
  target?: Target
  revision: string
  /** A folder for the full-precision files; without it none are left. */
  keep?: string
  name?: string
  trial?: boolean
  /** How much of the weights is here, and how much of the artifact is built: bytes. */
  onProgress?: (progress: { arrived: number; total: number; built: number; toBuild: number }) => void
}

/**
 * Throws RequestError (no such model, no access), ArtifactError (not a BLIP-2 that can be built, before anything large is
 * fetched), UpstreamError (the hub), SetupError (the disk), BusyError `cancelled`.
 */
export async function pull(hub: Hub, name: string, out: string, options: PullOptions): Promise<Manifest> {
  const target = resolve(out)
  return await fetchAndBuild(hub, name, target, options).catch((error: unknown) => {
    throw isFileSystemError(error) ? diskError(target, error) : error
  })
}

async function fetchAndBuild(
  hub: Hub,
  name: string,
  target: string,
  options: PullOptions,
): Promise<Manifest> {
  const { precision, keep } = options
  checkEndpoint(hub.endpoint)
  const repository = await modelInfo(hub, name, options.revision)
  if (!repository.files.has('config.json')) {
    throw new RequestError(
      'not_a_checkpoint',
      `Expected a checkpoint with config.json in ${name} but it has none. Give a BLIP-2 checkpoint such as Salesforce/blip2-opt-2.7b.`,
    )
  }
  const workplace = `${target}.download`
  // Kept files are the checkpoint's folder themselves; of another commit they are replaced by their checksums.
  const folder = keep === undefined ? join(workplace, repository.commit) : resolve(keep)
  await mkdir(workplace, { recursive: true })
  await mkdir(folder, { recursive: true })
  const leftOver = (await readdir(folder)).find(
    (file) => DECIDING.includes(file) && !repository.files.has(file),
  )
  if (leftOver) {
    throw new SetupError(
      'destination_taken',
      `Expected ${folder} to hold files of ${name} only but it also holds ${leftOver}, which would be read in place of its own. Remove that, or give another --keep.`,
    )
  }
  for (const file of SMALL_FILES.map((path) => repository.files.get(path))) {
    if (file) await download(hub, repository, file, folder)
  }
  parseConfig(await readJson(folder, 'config.json')) // before anything larger is asked for
  const shards = await shardsOf(hub, repository, folder)
  const total = shards.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const buildIt = async (untiedHead: boolean): Promise<Manifest> => {
    const progress = { arrived: 0, total, built: 0, toBuild: 0 }
    const report = () => {
      if (hub.signal?.aborted) throw interrupted()
      options.onProgress?.({ ...progress })
    }
    const weights = await openShards(hub, repository, shards, {
      folder,
      keep: keep !== undefined,
      onBytes: (count) => {
        progress.arrived += count
        report()
      },
    })
    return await buildArtifact(folder, target, {
      precision,
      target: options.target,
      name: options.name ?? name.split('/')[1],
      trial: options.trial,
      untiedHead,
      streamedWeights: {
        weights,
        workplace,
        repository: name,
        commit: repository.commit,
        kept: keep !== undefined,
        onPlan: (toBuild) => checkRoom(target, toBuild, shards, keep !== undefined),
      },
      onProgress: ({ doneBytes, totalBytes }) => {
        progress.built = doneBytes
        progress.toBuild = totalBytes
        report()
      },
    })
  }
  // Found out late, when both tables are here: a note, so that a later run begins with it.
  const note = join(workplace, `${repository.commit}.own-head`)
  const known = await stat(note).then(
    () => true,
    () => false,
  )
  const manifest = await buildIt(known).catch(async (error: unknown) => {
    if (!(error instanceof TiedWeightsDiffer)) throw error
    await writeFile(note, '')
    return await buildIt(true)
  })
  await rm(workplace, { recursive: true, force: true })
  return manifest
}

async function shardsOf(hub: Hub, repository: Repository, folder: string): Promise<HubFile[]> {
  const names = await weightFilesAmong([...repository.files.keys()], repository.name, async (path) => {
    const file = repository.files.get(path)
    if (file) await download(hub, repository, file, folder)
    return await readJson(folder, path)
  })
  return names.map((path) => {
    const file = repository.files.get(path)
    if (file) return file
    throw new SetupError(
      'no_weights',
      `Expected ${path} in ${repository.name}, as its index says, but it is not there. Try another --revision.`,
    )
  })
}

/** Throws SetupError `disk_full` where the artifact and what is on disk at a time would not fit. */
async function checkRoom(
  target: string,
  toBuild: number,
  shards: readonly HubFile[],
  keepAll: boolean,
): Promise<void> {
  const sizes = shards.map(({ sizeBytes }) => sizeBytes).sort((a, b) => b - a)
  const atATime = keepAll ? sizes : sizes.slice(0, 3)
  const wanted = toBuild + atATime.reduce((sum, size) => sum + size, 0)
  const disk = await statfs(dirname(target)).catch(() => undefined)
  if (!disk || disk.bavail * disk.bsize >= wanted) return
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`
  throw new SetupError(
    'disk_full',
    `Expected ${gigabytes(wanted)} of room for ${target} and what is being fetched but the disk has ${gigabytes(disk.bavail * disk.bsize)}. Make room, or give another --out.`,
  )
}

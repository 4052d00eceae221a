// `owner/name` -> the folder of its artifact, built on first use and kept in GLIMPSE_CACHE.
//
//   kept before?   -> the folder
//   in a Hugging Face cache of this machine? -> built from there
//   else           -> downloaded from the hub and built while it arrives
//
// Folders: <GLIMPSE_CACHE>/hub/<owner>--<name>/<revision>-<precision>.

import { readdir, readFile, realpath, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Manifest } from '../artifact/contract.ts'
import { openArtifact } from '../artifact/open.ts'
import { artifactBytes, buildArtifact } from '../builder/build.ts'
import { makeFolder } from '../builder/destination.ts'
import { readJson } from '../checkpoint/files.ts'
import { openSafetensors } from '../checkpoint/safetensors.ts'
import type { Config } from '../config.ts'
import { isGlimpseError, RequestError, SetupError } from '../errors.ts'
import { type PullPlan, pull } from '../hub/pull.ts'
import { isHubName } from '../hub/repository.ts'
import { memoryLimit, memoryOf } from '../memory.ts'
import { PRECISIONS, type Precision } from '../quantize/recipes.ts'
import { interrupted } from '../retry.ts'
import { stopWith } from '../stop.ts'
import { tryLock } from '../transfer/download.ts'

type HubSettings = Pick<
  Config,
  'cacheFolder' | 'hubEndpoint' | 'hubToken' | 'hubHome' | 'hubCache' | 'hubOffline'
>

/** What a model takes on this machine. */
export interface ModelPlan extends PullPlan {
  /** The precision that is proposed: proposedPrecision. */
  precision: Precision
  memoryBytes: number
}

export interface HubModelOptions {
  /** Branch, tag or commit. Default: main. */
  revision?: string
  /** Default: that of a kept artifact, else what `confirm` returns. */
  precision?: Precision
  /** Called before a model is made. What it throws ends the call. Default: the plan's precision. */
  confirm?: (plan: ModelPlan) => Promise<Precision>
  onProgress?: (progress: { doneBytes: number; totalBytes: number; note?: string }) => void
  /** Called once while another process makes the same model. */
  onWait?: () => void
  signal?: AbortSignal
}

export interface KeptModel {
  name: string
  revision: string
  precision: Precision
  folder: string
  bytes: number
}

/** Share of the memory that a model may take, so that the machine does other work too. */
const MEMORY_SHARE = 0.5
/** Which artifact of a model is meant when several are kept. */
const PREFERRED: readonly Precision[] = ['int8', 'int4', 'fp32']
const POLL_MS = 500

/** int8, the closer to the checkpoint, where it takes at most half of the memory; else int4. */
export function proposedPrecision(sizes: Record<Precision, number>, memoryBytes: number): Precision {
  return memoryOf(sizes.int8) <= MEMORY_SHARE * memoryBytes ? 'int8' : 'int4'
}

/** The models that are kept, by name. */
export async function listModels(cacheFolder: string): Promise<KeptModel[]> {
  const hub = join(cacheFolder, 'hub')
  const found: KeptModel[] = []
  for (const owner of (await readdir(hub).catch(() => [])).sort()) {
    for (const folder of (await readdir(join(hub, owner)).catch(() => [])).sort()) {
      const match = /^(.+)-(fp32|int8|int4)$/.exec(folder)
      if (!match) continue
      const path = join(hub, owner, folder)
      const manifest = await openArtifact(path).catch(() => undefined)
      if (!manifest) continue
      found.push({
        name: owner.replace('--', '/'),
        revision: decodeURIComponent(match[1]!),
        precision: match[2] as Precision,
        folder: path,
        bytes: bytesOf(manifest),
      })
    }
  }
  return found
}

/**
 * Removes the kept artifacts of a model, and what an interrupted download of it left.
 * @returns the models that were removed
 * @throws RequestError `bad_name` when none is kept
 */
export async function removeModel(cacheFolder: string, name: string): Promise<KeptModel[]> {
  const models = await listModels(cacheFolder)
  const folder = join(cacheFolder, 'hub', folderName(name))
  const exists = isHubName(name) && (await readdir(folder).catch(() => undefined)) !== undefined
  if (!exists) {
    const names = [...new Set(models.map((model) => model.name))]
    const kept = names.length === 0 ? 'No model is kept.' : `Kept models: ${names.join(', ')}.`
    throw new RequestError(
      'bad_name',
      `Expected the name of a kept model but got ${JSON.stringify(name)}. ${kept}`,
    )
  }
  await rm(folder, { recursive: true, force: true })
  return models.filter((model) => model.name === name)
}

/**
 * The folder of the model's artifact.
 * @throws RequestError (no such model), ArtifactError (not a model that Glimpse builds), UpstreamError (the hub),
 * SetupError (the disk), BusyError `cancelled`, and what `confirm` throws
 */
export async function hubModel(
  settings: HubSettings,
  name: string,
  options: HubModelOptions = {},
): Promise<string> {
  const { revision = 'main', precision, onWait, signal } = options
  const kept = async () => {
    const models = await listModels(settings.cacheFolder)
    const wanted = precision === undefined ? PREFERRED : [precision]
    return wanted
      .map((wanted) =>
        models.find((one) => one.name === name && one.revision === revision && one.precision === wanted),
      )
      .find((one) => one !== undefined)?.folder
  }
  const found = await kept()
  if (found) return found
  const home = join(settings.cacheFolder, 'hub', folderName(name))
  await makeFolder(home)
  let isWaiting = false
  while (true) {
    if (signal?.aborted) throw interrupted()
    const stop = stopWith(signal)
    const release = await tryLock(join(home, encodeURIComponent(revision)), stop.abort)
    try {
      if (release)
        return (
          (await kept()) ??
          (await makeModel(settings, name, home, { ...options, revision, signal: stop.signal }))
        )
      if (!isWaiting) onWait?.()
      isWaiting = true
      await sleep(POLL_MS)
    } finally {
      stop.end()
      await release?.()
    }
  }
}

async function makeModel(
  settings: HubSettings,
  name: string,
  home: string,
  options: HubModelOptions & { revision: string },
): Promise<string> {
  const { revision, precision, confirm, onProgress, signal } = options
  const memoryBytes = memoryLimit()
  const folderOf = (one: Precision) => join(home, `${encodeURIComponent(revision)}-${one}`)
  const choose = async (plan: PullPlan) => {
    const proposed = precision ?? proposedPrecision(plan.artifactBytes, memoryBytes)
    return (await confirm?.({ ...plan, precision: proposed, memoryBytes })) ?? proposed
  }
  const build = { name: basename(name), optionName: 'GLIMPSE_CACHE' }

  const snapshot = await snapshotOf(settings, name, revision)
  if (snapshot) {
    const files = await openSafetensors(snapshot)
    const config = await readJson(snapshot, 'config.json')
    const sizes = PRECISIONS.map((one) => [one, artifactBytes(config, files, one)] as const)
    await files.close?.()
    const chosen = await choose({
      name,
      commit: basename(snapshot),
      downloadBytes: 0,
      artifactBytes: Object.fromEntries(sizes) as Record<Precision, number>,
    })
    await buildArtifact(snapshot, folderOf(chosen), {
      ...build,
      precision: chosen,
      onProgress({ graph, ...bytes }) {
        if (signal?.aborted) throw interrupted()
        onProgress?.({ ...bytes, note: ` | ${graph}` })
      },
    })
    return folderOf(chosen)
  }
  if (settings.hubOffline) {
    const message = `Expected ${name} at ${revision} in ${hubCacheOf(settings)} but it is not there, and HF_HUB_OFFLINE is set. Unset it, or run this once on a machine with a network.`
    throw new SetupError('no_model', message)
  }
  const hub = { endpoint: settings.hubEndpoint, token: await hubToken(settings), signal }
  const manifest = await pull(hub, name, folderOf, {
    ...build,
    revision,
    precision: choose,
    workplace: join(home, `${encodeURIComponent(revision)}.download`),
    onProgress({ arrived, total, built, toBuild }) {
      const percent = toBuild > 0 ? Math.floor((100 * built) / toBuild) : 0
      onProgress?.({ doneBytes: arrived, totalBytes: total, note: ` | built ${percent}%` })
    },
  })
  return folderOf(manifest.precision)
}

/** HF_TOKEN, otherwise the token that huggingface_hub's login has saved. */
export async function hubToken({
  hubToken,
  hubHome,
}: Pick<Config, 'hubToken' | 'hubHome'>): Promise<string | undefined> {
  if (hubToken !== '') return hubToken
  const file = await readFile(join(hubHome, 'token'), 'utf8').catch(() => '')
  return file.trim() || undefined
}

/**
 * The folder of a complete checkpoint in huggingface_hub's cache: models--owner--name/snapshots/<commit>, where refs/<revision>
 * names the commit (huggingface_hub, "Manage your cache").
 */
async function snapshotOf(
  settings: HubSettings,
  name: string,
  revision: string,
): Promise<string | undefined> {
  const folder = join(hubCacheOf(settings), `models--${folderName(name)}`)
  const commit = await readFile(join(folder, 'refs', revision), 'utf8').catch(() => revision)
  const snapshot = await realpath(join(folder, 'snapshots', commit.trim())).catch(() => undefined)
  if (!snapshot || dirname(snapshot) !== (await realpath(join(folder, 'snapshots')))) return undefined
  try {
    // All weights are there: a download of a few files, such as the tokenizer's, leaves a snapshot too.
    const files = await openSafetensors(snapshot)
    await files.close?.()
    return snapshot
  } catch (error) {
    if (isGlimpseError(error)) return undefined
    throw error
  }
}

function hubCacheOf({ hubCache, hubHome }: Pick<Config, 'hubCache' | 'hubHome'>): string {
  return hubCache === '' ? join(hubHome, 'hub') : hubCache
}

function folderName(name: string): string {
  return name.replace('/', '--')
}

function bytesOf({ files }: Manifest): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

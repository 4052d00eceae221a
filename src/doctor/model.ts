// Settings -> findings about onnxruntime's library, the execution provider and the model's files.

import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { listModels } from '../app/hub-models.ts'
import { openArtifact, verifyFiles } from '../artifact/open.ts'
import { EMBEDDED_CHECKPOINT } from '../builder/embedded.ts'
import type { Config } from '../config.ts'
import { type Finding, fail, ok, skipped, warn } from '../finding.ts'
import { isHubName } from '../hub/repository.ts'
import { loadPart, S3_PACKAGES } from '../optional-part.ts'
import { megabytes } from '../units.ts'
import { unexpected } from './check.ts'

const REMOTE = skipped('GLIMPSE_ENGINE is set: the model runs on another machine')

/** onnxruntime's library loads and runs a graph. */
export async function checkRuntime(): Promise<Finding> {
  // Imported on use: a library that does not load is what this check reports.
  const session = await import('../run/session.ts').catch((error: unknown) => {
    const [line] = String(error instanceof Error ? error.message : error).split('\n')
    return fail(
      `onnxruntime's library does not load: ${line}`,
      'Install the packages again on this system (npm ci). onnxruntime has no library for musl systems such as Alpine.',
    )
  })
  if ('found' in session) return session
  await session.tryProvider('cpu')
  const { ONNXRUNTIME_VERSION } = await import('../versions.ts')
  return ok(`onnxruntime ${ONNXRUNTIME_VERSION} runs a graph on the CPU`)
}

/** Opens a session with GLIMPSE_PROVIDER, as the engine does. */
export async function checkProvider(
  { provider, providerMissing, engine }: Pick<Config, 'provider' | 'providerMissing' | 'engine'>,
  attempt?: (provider: Config['provider']) => Promise<void>,
): Promise<Finding> {
  if (engine !== '') return REMOTE
  if (provider === 'cpu') return ok('cpu, as set')
  const { resolveProvider } = await import('../run/provider.ts')
  const wanted = { requested: provider, onUnavailable: providerMissing }
  return await resolveProvider(wanted, attempt).then(
    ({ fallback }) =>
      fallback === undefined ? ok(`${provider}, as set`) : warn(`cpu in place of ${provider}: ${fallback}`),
    unexpected,
  )
}

interface ModelFound extends Finding {
  /** Size of all files; undefined if the model was not found or is remote. */
  bytes?: number
}

/** The artifact's files exist in the sizes that the manifest names; with `deep` also their checksums match. */
export async function checkModel(
  { model, engine, cacheFolder }: Pick<Config, 'model' | 'engine' | 'cacheFolder'>,
  deep: boolean,
): Promise<ModelFound> {
  if (engine !== '') return REMOTE
  if (model === '') return await checkEmbedded()
  const isOfHub = isHubName(model) && !existsSync(model)
  return await (isOfHub ? checkHubModel(model, cacheFolder, deep) : checkArtifact(model, deep)).catch(
    unexpected,
  )
}

async function checkEmbedded(): Promise<ModelFound> {
  const weights = await stat(join(EMBEDDED_CHECKPOINT, 'model.safetensors')).catch(() => undefined)
  if (!weights)
    return fail(
      'the embedded model is missing from the package',
      'Install the package again with its folder models/pico, or set GLIMPSE_MODEL.',
    )
  // Half-precision floats in the checkpoint, float32 in the artifact.
  return { ...ok('the embedded model, built on first use'), bytes: 2 * weights.size }
}

/** A model that is named as on the hub: kept in the cache, or made at the first start. */
async function checkHubModel(name: string, cacheFolder: string, deep: boolean): Promise<ModelFound> {
  const kept = (await listModels(cacheFolder)).find((model) => model.name === name)
  if (kept) return await checkArtifact(kept.folder, deep)
  return warn(
    `${name} is downloaded and built at the first start`,
    `Make it now: npx glimpse caption --model ${name} <picture>`,
  )
}

/** Of a model in S3 only the manifest is read: its files are verified when they are fetched. */
async function checkArtifact(model: string, deep: boolean): Promise<ModelFound> {
  const isInS3 = model.startsWith('s3://')
  // Imported on use: the SDK takes a while to load.
  const s3 = isInS3
    ? await loadPart('A model in S3', S3_PACKAGES, () => import('../transfer/fetch.ts'))
    : undefined
  const manifest = s3 ? (await s3.readManifest(s3.modelBucket(model))).manifest : await openArtifact(model)
  if (deep && !isInS3) await verifyFiles(model, manifest)
  const checked = deep ? 'checksums compared' : 'sizes compared, --deep compares checksums'
  const { name, precision, files } = manifest
  const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const from = isInS3 ? `from ${model}` : checked
  return { ...ok(`${name} at ${precision}, ${megabytes(bytes)} (${from})`), bytes }
}

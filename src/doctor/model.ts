// The model and what it runs on: the artifact's files, onnxruntime's library, the provider asked for.

import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Manifest } from '../artifact/contract.ts'
import { openArtifact, verifyFiles } from '../artifact/open.ts'
import { EMBEDDED_CHECKPOINT } from '../builder/embedded.ts'
import type { Config } from '../config.ts'
import { isGlimpseError } from '../errors.ts'
import { type Finding, fail, ok, skipped, warn } from '../finding.ts'
import { unexpected } from './check.ts'

/** onnxruntime's library loads, and what it offers here. */
export async function checkRuntime(): Promise<Finding> {
  // Only here: that it does not load is what this would tell.
  const loaded = await import('../run/session.ts').catch((error: unknown) => ({ error }))
  if ('error' in loaded) {
    const { message } = loaded.error instanceof Error ? loaded.error : new Error(String(loaded.error))
    return fail(
      `onnxruntime's library does not load: ${message.split('\n')[0]}`,
      'Install the packages again on this very system (npm ci); a musl system (Alpine) has no such library.',
    )
  }
  const { ONNXRUNTIME_VERSION } = await import('../versions.ts')
  const failed = await loaded.tryProvider('cpu').then(() => undefined, unexpected)
  return failed ?? ok(`onnxruntime ${ONNXRUNTIME_VERSION} runs a graph on the CPU`)
}

/** What GLIMPSE_PROVIDER asks for, tried as the engine would. */
export async function checkProvider(
  { provider, providerMissing, engine }: Pick<Config, 'provider' | 'providerMissing' | 'engine'>,
  attempt?: (provider: Config['provider']) => Promise<void>,
): Promise<Finding> {
  if (engine !== '') return skipped('the model runs elsewhere (GLIMPSE_ENGINE)')
  if (provider === 'cpu') return ok('cpu, as set')
  const { resolveProvider } = await import('../run/provider.ts')
  try {
    const { fallback } = await resolveProvider(
      { requested: provider, onUnavailable: providerMissing },
      attempt,
    )
    if (fallback === undefined) return ok(`${provider}, as set`)
    return warn(`cpu in place of ${provider}: ${fallback}`)
  } catch (error) {
    if (!isGlimpseError(error)) throw error
    return fail(error.message)
  }
}

export interface ModelFound extends Finding {
  /** Of all its files. */
  bytes?: number
}

/** The artifact: there, readable, of the sizes its manifest says, and with `deep` of the checksums too. */
export async function checkModel(
  { model, engine }: Pick<Config, 'model' | 'engine'>,
  deep: boolean,
): Promise<ModelFound> {
  if (engine !== '') return skipped('the model runs elsewhere (GLIMPSE_ENGINE)')
  if (model === '') return await checkEmbedded()
  try {
    if (model.startsWith('s3://')) return await checkBucketModel(model)
    const manifest = await openArtifact(model)
    if (deep) await verifyFiles(model, manifest)
    return foundIn(manifest, deep ? 'checksums compared' : 'sizes compared, --deep compares checksums')
  } catch (error) {
    if (!isGlimpseError(error)) throw error
    return fail(error.message)
  }
}

async function checkEmbedded(): Promise<ModelFound> {
  const weights = await stat(join(EMBEDDED_CHECKPOINT, 'model.safetensors')).catch(() => undefined)
  if (!weights)
    return fail(
      'the embedded model is not in the package',
      'Install the package again, with its folder models/pico, or set GLIMPSE_MODEL.',
    )
  // Half floats there become floats here.
  return { ...ok('the embedded model, built on first use'), bytes: 2 * weights.size }
}

/** Its manifest, as `glimpse push` left it: the weights are compared when they are fetched. */
async function checkBucketModel(model: string): Promise<ModelFound> {
  // Only here: the SDK takes a while to load.
  const { modelBucket, readManifest } = await import('../transfer/fetch.ts')
  const { manifest } = await readManifest(modelBucket(model))
  return foundIn(manifest, `from ${model}`)
}

function foundIn(manifest: Manifest, how: string): ModelFound {
  const bytes = manifest.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  return { ...ok(`${manifest.name} at ${manifest.precision}, ${Math.round(bytes / 1e6)} MB (${how})`), bytes }
}

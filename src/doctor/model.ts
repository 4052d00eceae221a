// The model and what it runs on: the artifact's files, onnxruntime's library, the provider asked for.

import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MANIFEST, type Manifest } from '../artifact/contract.ts'
import { openArtifact, parseManifest, verifyFiles } from '../artifact/open.ts'
import { EMBEDDED_CHECKPOINT } from '../builder/embedded.ts'
import type { Config } from '../config.ts'
import { isKnown } from '../errors.ts'
import { type Finding, fail, ok, skipped, unexpected, warn } from './check.ts'

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
  if (engine !== '' && engine !== 'here') return skipped('the model runs elsewhere (GLIMPSE_ENGINE)')
  if (provider === 'cpu') return ok('cpu, as set')
  const { findProvider } = await import('../run/provider.ts')
  try {
    const { fallback } = await findProvider({ wanted: provider, whenMissing: providerMissing }, attempt)
    if (fallback === undefined) return ok(`${provider}, as set`)
    return warn(`cpu in place of ${provider}: ${fallback}`)
  } catch (error) {
    if (!isKnown(error)) throw error
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
  if (engine !== '' && engine !== 'here') return skipped('the model runs elsewhere (GLIMPSE_ENGINE)')
  if (model === '') return await checkEmbedded()
  if (model.startsWith('s3://')) return await checkBucketModel(model)
  try {
    const manifest = await openArtifact(model)
    if (deep) await verifyFiles(model, manifest)
    const bytes = sizeOf(manifest)
    const how = deep ? 'checksums compared' : 'sizes compared, --deep compares checksums'
    return {
      ...ok(`${manifest.name} at ${manifest.precision}, ${Math.round(bytes / 1e6)} MB (${how})`),
      bytes,
    }
  } catch (error) {
    if (!isKnown(error)) throw error
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
  const { hostname: Bucket, pathname } = new URL(model)
  const prefix = pathname.replace(/^\/|\/$/g, '')
  const { GetObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
  const Key = prefix === '' ? MANIFEST : `${prefix}/${MANIFEST}`
  try {
    const { Body } = await new S3Client().send(new GetObjectCommand({ Bucket, Key }))
    const manifest = parseManifest(await Body!.transformToString(), model)
    const bytes = sizeOf(manifest)
    return {
      ...ok(`${manifest.name} at ${manifest.precision}, ${Math.round(bytes / 1e6)} MB, from ${Bucket}`),
      bytes,
    }
  } catch (error) {
    if (isKnown(error)) return fail(error.message)
    const why = error instanceof Error ? error.name : String(error)
    return fail(
      `${Key} in ${Bucket} could not be read: ${why}`,
      'Check GLIMPSE_MODEL, AWS_REGION and that the role may s3:GetObject there.',
    )
  }
}

function sizeOf(manifest: Manifest): number {
  return manifest.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

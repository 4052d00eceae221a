// The model that a user names -> how to start it on this machine. Its artifact is made or fetched first, if need be.
//
//   ''             the embedded model, built on first use
//   a folder       itself
//   s3://...       the cache's copy, fetched on first use
//   owner/name     of the hub: made on first use (hub-models.ts)

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { embeddedArtifact } from '../builder/embedded.ts'
import type { Config } from '../config.ts'
import type { startEngine } from '../engine/engine.ts'
import { isGlimpseError, RequestError } from '../errors.ts'
import { isHubName } from '../hub/repository.ts'
import { loadPart, S3_PACKAGES } from '../optional-part.ts'
import type { Precision } from '../quantize/recipes.ts'
import { loadConfig } from './config.ts'
import { modelProcessOptions } from './engine.ts'
import type { HubModelOptions } from './hub-models.ts'

export interface ModelChoice {
  /** Default: GLIMPSE_MODEL. */
  model?: string
  /** Of a model on the hub: branch, tag or commit. Default: main. */
  revision?: string
  /** Of a model on the hub. Default: the one that is kept, else one that fits this machine. */
  precision?: Precision
  /** Threads of one operator. Default: GLIMPSE_THREADS. */
  threads?: number
}

type Fetching = Pick<HubModelOptions, 'onProgress' | 'signal'>

export interface ModelHooks extends Pick<HubModelOptions, 'confirm' | 'onWait'> {
  /** Called around a download, to show its progress and to stop it. */
  whileFetching?: (work: (given: Fetching) => Promise<string>) => Promise<string>
  /** Called when weights are prepacked first, which takes a while. */
  onPreparing?: () => void
}

/** @throws the errors of embeddedArtifact, fetchArtifact and hubModel */
export async function localModel(
  config: Config,
  { model = config.model, threads = config.threads, ...ofHub }: ModelChoice,
  hooks: ModelHooks = {},
): Promise<Parameters<typeof startEngine>[0]> {
  return {
    ...modelProcessOptions({ ...config, threads }),
    artifact: await artifactAt(model, config, ofHub, hooks),
    prepack: { folder: join(config.cacheFolder, 'prepacked'), fromBytes: config.prepackFromMb * 1e6 },
    onPreparing: hooks.onPreparing,
  }
}

async function artifactAt(
  location: string,
  config: Config,
  ofHub: Pick<ModelChoice, 'revision' | 'precision'>,
  { whileFetching = (work) => work({}), ...hooks }: ModelHooks,
): Promise<string> {
  const { cacheFolder } = config
  if (location === '') return await embeddedArtifact(cacheFolder)
  if (location.startsWith('s3://')) {
    // Imported on use: the SDK takes a while to load.
    const { fetchArtifact } = await loadPart(
      'A model in S3',
      S3_PACKAGES,
      () => import('../transfer/fetch.ts'),
    )
    return await whileFetching((given) =>
      fetchArtifact(location, { cacheFolder, onWait: hooks.onWait, ...given }),
    )
  }
  if (existsSync(location) || !isHubName(location)) return location
  // Imported on use: the builder takes a while to load.
  const { hubModel } = await import('./hub-models.ts')
  const settings = config.hubToken === '' ? { ...config, hubToken: (await loadConfig()).hubToken } : config
  return await whileFetching((given) => hubModel(settings, location, { ...ofHub, ...hooks, ...given })).catch(
    (error: unknown) => {
      if (!isGlimpseError(error) || error.code !== 'not_on_hub') throw error
      const message = `There is no folder ${location}. As a name on the hub: ${error.message}`
      throw new RequestError('not_on_hub', message)
    },
  )
}

// Where a function's model runs: elsewhere (GLIMPSE_ENGINE), or here, from the layers.

import type { Config } from '../config.ts'
import { type Engine, startEngine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { openRemoteEngine } from '../remote/open.ts'
import { engineSettings } from '../serve/settings.ts'
import { childLocation } from '../store/open.ts'
import { HOUR_MS } from '../time.ts'

/** @param persistEncoderCache whether what the model saw is kept for the next function. @throws SetupError, ArtifactError */
export async function openEngine(config: Config, persistEncoderCache: boolean): Promise<Engine> {
  const remote = await openRemoteEngine(config)
  if (remote) return remote
  if (config.model === '') {
    throw new SetupError(
      'no_model',
      'Expected GLIMPSE_MODEL to name the model in the layers, or GLIMPSE_ENGINE one elsewhere, but got neither.',
    )
  }
  const encoderCache = persistEncoderCache
    ? { location: childLocation(config.state, 'seen'), ttlMs: config.keepHours * HOUR_MS }
    : undefined
  return await startEngine({ ...engineSettings(config), artifact: config.model, encoderCache })
}

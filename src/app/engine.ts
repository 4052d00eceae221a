// Settings -> the engine: remote, or a model process on this machine. Every command and function uses openEngine.

import { type Config, withoutSecrets } from '../config.ts'
import { type Engine, startEngine } from '../engine/engine.ts'
import { openRemoteEngine } from '../remote/open.ts'
import { HOUR_MS } from '../time.ts'

type LocalModel = Parameters<typeof startEngine>[0]

/** Options of the model process that do not depend on its artifact. `threads`: undefined lets the engine choose. */
export function modelProcessOptions({ threads, provider, providerMissing, maxBatch }: Config) {
  return {
    threads: threads === 0 ? undefined : threads,
    provider: { requested: provider, onUnavailable: providerMissing },
    maxBatch,
    env: withoutSecrets(),
  } satisfies Partial<LocalModel>
}

/**
 * The remote engine that GLIMPSE_ENGINE names, else one that runs `local`.
 * @param persistStages keeps what vision or queries computed in GLIMPSE_STATE, so that follow-ups work after a restart
 * @throws SetupError, ArtifactError
 */
export async function openEngine(
  config: Config,
  local: () => Promise<LocalModel>,
  persistStages: boolean,
): Promise<Engine> {
  const remote = await openRemoteEngine(config)
  if (remote) return remote
  const stageStore = persistStages
    ? { location: `${config.state.replace(/\/$/, '')}/seen`, ttlMs: config.keepHours * HOUR_MS }
    : undefined
  return await startEngine({ ...(await local()), stageStore })
}

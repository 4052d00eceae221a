// GLIMPSE_ENGINE -> the engine elsewhere that it names.

import type { Engine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'

export interface RemoteEngineConfig {
  /** Of GLIMPSE_ENGINE. */
  engine: string
  apiToken: string
  deadlineMs: number
}

/** Undefined when the model runs here. Nothing is called yet. @throws SetupError `bad_engine` */
export async function openRemoteEngine({
  engine,
  apiToken,
  deadlineMs,
}: RemoteEngineConfig): Promise<Engine | undefined> {
  if (engine === '') return undefined
  if (/^https?:\/\//.test(engine) && URL.canParse(engine)) {
    const { openHttpEngine } = await import('./http.ts')
    return openHttpEngine({ url: engine, token: apiToken, deadlineMs })
  }
  if (engine.startsWith('sagemaker:')) {
    // Only here: the SDK takes a while to load.
    const { openSageMakerEngine, parseEndpoint } = await import('./sagemaker.ts')
    return openSageMakerEngine(parseEndpoint(engine), { deadlineMs })
  }
  throw new SetupError(
    'bad_engine',
    'Expected GLIMPSE_ENGINE like https://host or sagemaker://endpoint?bucket=name but got another form.',
  )
}

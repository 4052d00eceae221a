// GLIMPSE_ENGINE -> the remote engine that it names.

import type { Engine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { loadPart, S3_PACKAGES } from '../optional-part.ts'
import { parseEndpoint } from './endpoint.ts'

const PACKAGES = ['@aws-sdk/client-sagemaker-runtime', ...S3_PACKAGES]

export interface RemoteEngineConfig {
  /** GLIMPSE_ENGINE; '' for a model on this machine. */
  engine: string
  apiToken: string
  deadlineMs: number
}

/** Undefined for ''. Sends nothing yet. @throws SetupError `bad_engine` */
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
    // Loaded here: the SDK takes a while.
    const { openSageMakerEngine } = await loadPart(
      'A SageMaker engine',
      PACKAGES,
      () => import('./sagemaker.ts'),
    )
    return openSageMakerEngine(parseEndpoint(engine), { deadlineMs })
  }
  throw new SetupError(
    'bad_engine',
    'Expected GLIMPSE_ENGINE like https://host or sagemaker://endpoint?bucket=name but got another form.',
  )
}

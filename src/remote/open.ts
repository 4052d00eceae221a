// GLIMPSE_ENGINE -> the remote engine that it names.

import type { Engine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { loadPart, S3_PACKAGES } from '../optional-part.ts'
import { parseEndpoint } from './endpoint.ts'

/** `abc.lambda-url.eu-central-1.on.aws` */
const FUNCTION_URL = /\.lambda-url\.([a-z0-9-]+)\.on\.aws$/
const SIGNER = ['@smithy/signature-v4', '@aws-sdk/credential-provider-node']
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
    return openHttpEngine({ url: engine, token: apiToken, deadlineMs, sign: await signerFor(engine) })
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

/** Whether the engine checks GLIMPSE_API_TOKEN: not a SageMaker endpoint, nor the URL of a Lambda function. */
export function needsToken(engine: string): boolean {
  return /^https?:/.test(engine) && URL.canParse(engine) && !FUNCTION_URL.test(new URL(engine).hostname)
}

/** For the URL of a Lambda function, which checks a signature of the role in place of the token. */
async function signerFor(url: string) {
  const region = FUNCTION_URL.exec(new URL(url).hostname)?.[1]
  if (region === undefined) return undefined
  const { openSigner } = await loadPart('A function URL as engine', SIGNER, () => import('./signed.ts'))
  return openSigner(region)
}

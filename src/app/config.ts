// Environment and secrets of the SSM parameter store -> settings. They also configure the log.

import { type Config, readConfig, secretsOf } from '../config.ts'
import { configureLog, redactValues } from '../observe/log.ts'
import { loadPart } from '../optional-part.ts'

/**
 * @param secretNames the secrets that this process needs. Default: every secret that its role may read
 * @throws SetupError `bad_settings`, `no_secrets`
 */
export async function loadConfig(secretNames?: readonly string[]): Promise<Config> {
  const { secrets: path } = readConfig()
  // Imported on use, because the AWS SDK is optional and loads slowly.
  const load = () => loadPart('GLIMPSE_SECRETS', ['@aws-sdk/client-ssm'], () => import('./secrets.ts'))
  const stored = path === '' ? {} : await (await load()).secretsBelow(path, secretNames)
  const config = readConfig(undefined, stored)
  redactValues(secretsOf(config))
  configureLog(config.logFormat)
  return config
}

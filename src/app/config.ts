// Environment, and secrets of the SSM parameter store -> settings; the log is set up by them.

import { type Config, readConfig, secretsOf } from '../config.ts'
import { configureLog, redactValues } from '../observe/log.ts'

/**
 * @param secretNames the secrets that this process needs. Default: every one that it may read; each is requested alone,
 *   because SSM refuses a request that names one forbidden parameter
 * @throws SetupError `bad_settings`, `no_secrets`
 */
export async function loadConfig(secretNames?: readonly string[]): Promise<Config> {
  const { secrets: path } = readConfig()
  // Loaded on use: the SDK takes a while.
  const stored = path === '' ? {} : await (await import('./secrets.ts')).secretsBelow(path, secretNames)
  const config = readConfig(undefined, stored)
  redactValues(secretsOf(config))
  configureLog(config.logFormat)
  return config
}

// Shared by every function. At a cold start: settings, secrets, the model. Around each invocation: ids for the log, and
// metrics, which are written before Lambda freezes the process.

import type { Context } from 'aws-lambda'
import { loadConfig } from '../app/config.ts'
import { modelProcessOptions, openEngine } from '../app/engine.ts'
import { type Config, readConfig } from '../config.ts'
import type { Engine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { openEmf } from '../observe/emf.ts'
import { log, withIds } from '../observe/log.ts'
import { reportAs } from '../observe/report.ts'

/** The fields of Lambda's context that are used. */
export type Invocation = Pick<Context, 'awsRequestId' | 'functionName' | 'getRemainingTimeInMillis'>

/** Logs errors that no caller sees. */
export const report = reportAs('function_failed')

let emf: ReturnType<typeof openEmf> | undefined
let writesMetrics = false

/** @param secretNames the only secrets that the function's role may read. @throws SetupError */
export async function loadFunctionConfig(secretNames: readonly string[]): Promise<Config> {
  // Before the secrets, so that a failure to read them is counted too.
  writesMetrics = readConfig().metrics === 'emf'
  return await loadConfig(secretNames)
}

/** The engine of a function: remote, or the artifact that GLIMPSE_MODEL names in the layers. Failures are logged. */
export function openFunctionEngine(config: Config, persistStages: boolean): Promise<Engine> {
  const local = async () => {
    if (config.model !== '') return { ...modelProcessOptions(config), artifact: config.model }
    const message =
      'Neither GLIMPSE_MODEL (an artifact in the layers) nor GLIMPSE_ENGINE (a remote engine) is set. Set one.'
    throw new SetupError('no_model', message)
  }
  const engine = openEngine(config, local, persistStages)
  engine.catch(report)
  return engine
}

/** Opens immediately, because Lambda gives the init phase full CPU. After a failure the next invocation opens again. */
export function lazyWithRetry<T>(open: () => Promise<T>): () => Promise<T> {
  let opening: Promise<T> | undefined
  const get = () => {
    opening ??= open().catch((error: unknown) => {
      opening = undefined
      throw error
    })
    return opening
  }
  get().catch(() => {})
  return get
}

/** Runs one invocation. An error is logged and thrown to Lambda. */
export async function withInvocation<T>(
  { awsRequestId, functionName }: Pick<Context, 'awsRequestId' | 'functionName'>,
  work: () => Promise<T>,
): Promise<T> {
  emf ??= openEmf({ function: functionName })
  try {
    return await withIds({ request_id: awsRequestId }, work)
  } catch (error) {
    log.error('invocation_failed', error)
    throw error
  } finally {
    if (writesMetrics) await emf.flush()
  }
}

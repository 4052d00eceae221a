// What every function does: once, at a cold start, settings and secrets; around each invocation, ids for the log and
// metrics out before Lambda freezes the process.

import { type Config, readConfig, secretsOf } from '../config.ts'
import { withIds } from '../observe/context.ts'
import { type Emf, openEmf } from '../observe/emf.ts'
import { configureLog, log, redactValues } from '../observe/log.ts'
import { reportAs } from '../observe/report.ts'

/** Of Lambda's context, what is used. */
export interface Invocation {
  awsRequestId: string
  functionName: string
}

/**
 * @param names of the secrets that this process needs; without it all that it may read, each asked for by itself, since
 * one that is forbidden forbids all that are asked for with it
 * @throws SetupError
 */
export async function loadConfig(names?: readonly string[]): Promise<Config> {
  const { secrets: path } = readConfig()
  // Only here: the SDK takes a while to load.
  const stored = path === '' ? {} : await (await import('./secrets.ts')).secretsBelow(path, names)
  const config = readConfig(undefined, stored)
  redactValues(secretsOf(config))
  writesMetrics = config.metrics === 'emf'
  configureLog(config.logFormat)
  return config
}

/** Opens now, while Lambda gives a start a whole processor; what failed is opened again by the next one who asks. */
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

let emf: Emf | undefined
/** Told by the settings; nobody reads them before. */
let writesMetrics = false

/** One invocation. What it throws is in the log with its reason, and Lambda's to deal with. */
export async function withInvocation<T>(
  { awsRequestId, functionName }: Invocation,
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

/** Failures that are told to nobody else. */
export const report = reportAs('function_failed')

// Settings -> the result of every check. A check gets only the settings that it needs.

import { type Config, parseConfig, secretsOf, wantsChat } from '../config.ts'
import { type Finding, fail, ok, skipped, warn } from '../finding.ts'
import { redactValues } from '../observe/log.ts'
import { PLATFORMS } from '../platforms.ts'
import { type Check, type Result, runChecks } from './check.ts'
import { checkEngine, checkQueue, lookAtSecrets } from './cloud.ts'
import {
  checkAccess,
  checkClock,
  checkMemory,
  checkNode,
  checkPort,
  checkThisProcessor,
  memoryLimit,
} from './machine.ts'
import { checkModel, checkProvider, checkRuntime, type ModelFound } from './model.ts'
import { checkCache, checkState, checkUploads } from './storage.ts'

export interface ExamineOptions {
  /** Reads the whole model and compares its checksums. */
  deep?: boolean
  /** For each check. */
  timeoutMs?: number
}

type Environment = Readonly<Record<string, string | undefined>>

const TIMEOUT_MS = 10_000
/** Reading a model of some gigabytes takes longer. */
const DEEP_TIMEOUT_MS = 600_000

/**
 * Runs all checks. Removes what they write to test a folder or a bucket.
 * @example const results = await examine({ GLIMPSE_MODEL: './blip2-int4' })
 */
export async function examine(env: Environment, options: ExamineOptions = {}): Promise<Result[]> {
  const { deep = false, timeoutMs = deep ? DEEP_TIMEOUT_MS : TIMEOUT_MS } = options
  const { config: own } = parseConfig(env)
  redactValues(secretsOf(own))
  // Runs first, with the same timeout: the other checks use the secrets that it finds.
  let stored: Record<string, string> = {}
  const secrets = await runChecks(
    [
      {
        name: 'secrets',
        async look() {
          const found = await lookAtSecrets(own.secrets)
          stored = found.values
          return found.finding
        },
      },
    ],
    timeoutMs,
  )
  const parsed = parseConfig(env, stored)
  const { config } = parsed
  redactValues(secretsOf(config))

  const model = once(() => checkModel(config, deep))
  const modelBytes = async () => (await model().catch((): ModelFound => skipped(''))).bytes
  const checks: Check[] = [
    { name: 'settings', look: async () => settings(parsed) },
    { name: 'node', look: async () => checkNode(process.versions.node) },
    { name: 'processor', look: checkThisProcessor },
    { name: 'onnxruntime', look: checkRuntime },
    { name: 'provider', look: () => checkProvider(config) },
    { name: 'model', look: model },
    { name: 'memory', look: async () => checkMemory(memoryLimit(), await modelBytes()) },
    {
      name: 'cache',
      async look() {
        const bytes = await modelBytes()
        return await checkCache(config.cacheFolder, bytes, (bytes ?? 0) >= config.prepackFromMb * 1e6)
      },
    },
    { name: 'state', look: () => state(config) },
    { name: 'uploads', look: () => checkUploads(config.uploads) },
    { name: 'port', look: () => checkPort(config.host, config.port) },
    { name: 'access', look: async () => checkAccess(config) },
    ...PLATFORMS.flatMap(({ checks }) =>
      checks.map(({ name, check }) => ({ name, look: () => check(config, config.queue !== '') })),
    ),
    { name: 'queue', look: () => checkQueue(config) },
    { name: 'engine', look: () => checkEngine(config) },
    { name: 'clock', look: () => checkClock(clockOf(config)) },
  ]
  const results = await runChecks(checks, timeoutMs)
  return [results[0]!, ...secrets, ...results.slice(1)]
}

function settings({ problems, count }: ReturnType<typeof parseConfig>): Finding {
  if (problems.length > 0)
    return fail(problems.join('; '), 'Correct or unset these; `npx glimpse --help` lists all settings.')
  return ok(count === 0 ? 'none set, all at their defaults' : `${count} set, all valid`)
}

/** Chats need it. Without them it holds answers by their Idempotency-Key, which one process can keep by itself. */
async function state(config: Config): Promise<Finding> {
  const finding = await checkState(config.state)
  if (finding.status !== 'fail' || wantsChat(config)) return finding
  return warn(
    finding.found,
    'Set GLIMPSE_STATE, or each process keeps answers by their Idempotency-Key for itself.',
  )
}

/** A service that other checks call anyway. */
function clockOf(config: Config): string | undefined {
  const urls = PLATFORMS.map(({ apiUrl }) => apiUrl(config))
  return (
    urls.find((url) => url !== undefined) ?? (config.queue === '' ? undefined : new URL(config.queue).origin)
  )
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}

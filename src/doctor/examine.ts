// Settings -> the results of all checks.

import { availableParallelism } from 'node:os'
import { type Config, parseConfig, secretsOf, wantsChat } from '../config.ts'
import { type Finding, fail, ok } from '../finding.ts'
import { memoryLimit } from '../memory.ts'
import { redactValues } from '../observe/log.ts'
import { PLATFORMS } from '../platforms.ts'
import { thisProcessor } from '../run/cpu.ts'
import { type Checks, type Result, runChecks } from './check.ts'
import { checkEngine, checkQueue, checkSecrets } from './cloud.ts'
import { checkAccess, checkClock, checkMemory, checkNode, checkPort, checkProcessor } from './machine.ts'
import { checkModel, checkProvider, checkRuntime } from './model.ts'
import { checkCache, checkState, checkUploads } from './storage.ts'

/** For each check. */
const TIMEOUT_MS = 10_000
/** Reading a model of some gigabytes takes longer. */
const DEEP_TIMEOUT_MS = 600_000

/**
 * Runs all checks, which remove what they write. With `deep` the checksums of the whole model are compared.
 * @example const results = await examine({ GLIMPSE_MODEL: './blip2-int4' })
 */
export async function examine(env: Readonly<NodeJS.ProcessEnv>, deep = false): Promise<Result[]> {
  const timeoutMs = deep ? DEEP_TIMEOUT_MS : TIMEOUT_MS
  const { config: own } = parseConfig(env)
  redactValues(secretsOf(own))
  // First, because secrets override settings that the other checks use.
  const stored: Record<string, string> = {}
  const readStored = () => checkSecrets(own.secrets, (values) => Object.assign(stored, values))
  const secrets = await runChecks({ secrets: readStored }, timeoutMs)
  const parsed = parseConfig(env, stored)
  const { config } = parsed
  redactValues(secretsOf(config))

  const model = checkModel(config, deep)
  const modelBytes = model.then(({ bytes }) => bytes)
  const checks: Checks = {
    settings: async () => settings(parsed),
    node: async () => checkNode(process.versions.node),
    processor: async () => checkProcessor(thisProcessor(), availableParallelism()),
    onnxruntime: checkRuntime,
    provider: () => checkProvider(config),
    model: () => model,
    memory: async () => checkMemory(memoryLimit(), await modelBytes),
    async cache() {
      const bytes = await modelBytes
      return await checkCache(config.cacheFolder, bytes, (bytes ?? 0) >= config.prepackFromMb * 1e6)
    },
    state: () => checkState(config.state, wantsChat(config)),
    uploads: () => checkUploads(config.uploads),
    port: () => checkPort(config.host, config.port),
    access: async () => checkAccess(config),
    ...platformChecks(config),
    queue: () => checkQueue(config),
    engine: () => checkEngine(config),
    clock: () => checkClock(clockOf(config)),
  }
  const results = await runChecks(checks, timeoutMs)
  return [results[0]!, ...secrets, ...results.slice(1)]
}

function settings({ problems, count }: ReturnType<typeof parseConfig>): Finding {
  if (problems.length > 0)
    return fail(problems.join('; '), 'Correct or unset these; `npx glimpse --help` lists all settings.')
  return ok(count === 0 ? 'none set, all at their defaults' : `${count} set, all valid`)
}

/** The checks of every chat platform. */
export function platformChecks(config: Config): Checks {
  const run = PLATFORMS.flatMap(({ checks }) => Object.entries(checks)).map(
    ([name, check]) => [name, () => check(config, config.queue !== '')] as const,
  )
  return Object.fromEntries(run)
}

/** A service that other checks call anyway. */
function clockOf(config: Config): string | undefined {
  const urls = PLATFORMS.map(({ apiUrl }) => apiUrl(config))
  return (
    urls.find((url) => url !== undefined) ?? (config.queue === '' ? undefined : new URL(config.queue).origin)
  )
}

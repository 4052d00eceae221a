// The machine -> findings about Node, the processor, memory, the port, HTTP access and the clock.

import { createServer } from 'node:net'
import { type Finding, fail, ok, skipped, warn } from '../finding.ts'
import { memoryOf } from '../memory.ts'
import { type Processor, prepackSettings } from '../run/cpu.ts'
import { isLocal } from '../serve/server.ts'
import { megabytes } from '../units.ts'

/** The lowest version in package.json's `engines`. */
const OLDEST_NODE = [20, 19] as const
/** The AWS SDK needs it in its releases from January 2027 on, as a warning of the SDK says. */
const NEXT_NODE = 22

/** @example checkNode('22.11.0') */
export function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_NODE
  if (major < oldestMajor || (major === oldestMajor && minor < oldestMinor))
    return fail(`Node ${version}`, `Install Node ${OLDEST_NODE.join('.')} or newer.`)
  if (major >= NEXT_NODE) return ok(`Node ${version}`)
  return warn(`Node ${version}`, `It works. Upgrade to Node ${NEXT_NODE} or 24: the AWS SDK will require it.`)
}

/** What the processor can do, and the settings that are chosen for it (run/cpu.ts). */
export function checkProcessor(processor: Processor, cores: number): Finding {
  const { arch, flags, dotProducts } = processor
  const chosen = Object.entries(prepackSettings(processor)).map(([name, value]) => `; set ${name}=${value}`)
  const found = `${arch}, ${cores} ${cores === 1 ? 'core' : 'cores'}`
  if (!flags) return skipped(`${found}; the system does not report its instructions${chosen.join('')}`)
  if (arch === 'x64' && !flags.includes('avx2'))
    return warn(
      `${found}, no AVX2${chosen.join('')}`,
      'Answers take several times as long. Use a machine with AVX2.',
    )
  if (dotProducts !== undefined) return ok(`${found}, 8-bit dot products (${dotProducts})${chosen.join('')}`)
  return warn(
    `${found}, no 8-bit dot products${chosen.join('')}`,
    'It works. int8 and int4 models answer faster on a processor with VNNI or ARM dot products; `npx glimpse bench` measures it.',
  )
}

/** @param modelBytes size of all files of the artifact; undefined if it is unknown */
export function checkMemory(limitBytes: number, modelBytes: number | undefined): Finding {
  if (modelBytes === undefined) return skipped(`${megabytes(limitBytes)}; the size of the model is unknown`)
  const found = `${megabytes(limitBytes)} for a model of ${megabytes(modelBytes)}`
  const neededBytes = memoryOf(modelBytes)
  if (limitBytes >= neededBytes) return ok(found)
  return warn(
    found,
    `Provide ${megabytes(neededBytes)} or run a smaller model. With less, weights are read from disk repeatedly or the process is killed.`,
  )
}

export async function checkPort(host: string, port: number): Promise<Finding> {
  const code = await listenError(host, port)
  if (code === undefined) return ok(port === 0 ? `a free port on ${host}` : `${port} on ${host} is free`)
  if (code !== 'EADDRINUSE')
    return fail(
      `cannot listen on ${host}:${port} (${code})`,
      'Set GLIMPSE_HOST to an address of this machine, and GLIMPSE_PORT to a port that this user may open.',
    )
  const health = await fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(2_000) })
    .then(async (response) => (response.ok ? await response.text() : ''))
    .catch(() => '')
  if (health.includes('alive')) return ok(`a running Glimpse listens on ${port}`)
  return fail(
    `${port} on ${host} is taken by another program`,
    'Set GLIMPSE_PORT to another port, or to 0 for any free one.',
  )
}

function listenError(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
}

/** Who may call the HTTP endpoint. */
export function checkAccess({ host, apiToken }: { host: string; apiToken: string }): Finding {
  if (isLocal(host)) return ok('only programs on this machine can call Glimpse')
  if (apiToken !== '') return ok('callers need GLIMPSE_API_TOKEN')
  return warn(
    `every machine that reaches ${host} can call Glimpse`,
    'Set GLIMPSE_API_TOKEN (openssl rand -hex 32), or allow connections from your proxy only.',
  )
}

/** Slack's signatures and AWS's requests are refused when they are more than five minutes off. */
const MAX_SKEW_MS = 300_000
const WARN_SKEW_MS = 30_000

/** @param address a service that Glimpse calls anyway; its Date header is the reference. Undefined if there is none */
export async function checkClock(
  address: string | undefined,
  now: () => number = Date.now,
): Promise<Finding> {
  if (address === undefined) return skipped('no service is set up whose clock could be compared')
  const signal = AbortSignal.timeout(5_000)
  const request = fetch(address, { method: 'HEAD', redirect: 'manual', signal })
  const date = (await request.catch(() => undefined))?.headers.get('date')
  const { host } = new URL(address)
  if (Number.isNaN(Date.parse(date ?? ''))) return skipped(`${host} did not return a date`)
  const skewMs = Math.abs(Date.parse(date!) - now())
  const found = `${Math.round(skewMs / 1000)} s off the clock of ${host}`
  if (skewMs < WARN_SKEW_MS) return ok(found)
  const todo = 'Synchronize the clock (NTP). Slack and AWS refuse signatures more than five minutes off.'
  return skewMs < MAX_SKEW_MS ? warn(found, todo) : fail(found, todo)
}

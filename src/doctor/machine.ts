// What Glimpse runs on: Node, the processor, memory, the port, the clock.

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { availableParallelism, totalmem } from 'node:os'
import { type Finding, fail, ok, skipped, warn } from '../finding.ts'
import { isLocal } from '../serve/server.ts'

/** package.json, `engines`. */
const OLDEST_NODE = [20, 19] as const
/** AWS's SDK says that its releases from January 2027 on need it. */
const NEXT_NODE = 22

/** @example checkNode('22.11.0') */
export function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isOld = major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1])
  if (isOld) return fail(`Node ${version}`, `Install Node ${OLDEST_NODE.join('.')} or newer.`)
  if (major < NEXT_NODE)
    return warn(
      `Node ${version}`,
      `It works; take Node ${NEXT_NODE} or 24 at the next chance, AWS's SDK will ask for it.`,
    )
  return ok(`Node ${version}`)
}

/** @param cpuinfo text of /proc/cpuinfo; undefined where there is none */
export function checkProcessor(cpuinfo: string | undefined, arch: string, cores: number): Finding {
  const on = `${arch}, ${cores} ${cores === 1 ? 'core' : 'cores'}`
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo ?? '')?.[1]?.split(' ')
  if (!flags) return skipped(`${on}; this system does not tell its instructions`)
  const has = (name: string) => flags.includes(name)
  if (arch !== 'x64') {
    if (has('asimddp')) return ok(`${on}, dot products of 8 bits (asimddp)`)
    return warn(
      `${on}, no dot products of 8 bits`,
      'int8 and int4 gain less here; `npx glimpse bench` measures it.',
    )
  }
  if (!has('avx2'))
    return warn(`${on}, no AVX2`, 'Answers take several times as long; choose a machine with AVX2.')
  const products = ['avx512_vnni', 'avx_vnni'].filter(has)
  if (products.length > 0) return ok(`${on}, AVX2 and 8-bit products (${products.join(', ')})`)
  return warn(`${on}, AVX2 without VNNI`, 'It works; models of 8 and 4 bits answer faster where VNNI is.')
}

export async function checkThisProcessor(): Promise<Finding> {
  const cpuinfo = await readFile('/proc/cpuinfo', 'utf8').catch(() => undefined)
  return checkProcessor(cpuinfo, process.arch, availableParallelism())
}

/** Beside the weights: the program, a picture and caches. */
const BESIDE_WEIGHTS_BYTES = 512e6

/** @param modelBytes of all files of the artifact; undefined when it is not known */
export function checkMemory(limitBytes: number, modelBytes: number | undefined): Finding {
  const has = `${megabytes(limitBytes)} MB`
  if (modelBytes === undefined) return skipped(`${has}; how large the model is could not be found out`)
  const wanted = modelBytes + BESIDE_WEIGHTS_BYTES
  const of = `${has} for a model of ${megabytes(modelBytes)} MB`
  if (limitBytes >= wanted) return ok(of)
  return warn(
    of,
    `Give it ${megabytes(wanted)} MB, or run a smaller model: below that weights are read again and again, or the process is killed.`,
  )
}

/** What this process may use: the container's limit, or the machine's memory. */
export function memoryLimit(): number {
  const limit = process.constrainedMemory()
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem()
}

export async function checkPort(host: string, port: number): Promise<Finding> {
  const code = await codeOfListening(host, port)
  if (code === undefined) return ok(port === 0 ? `a free port on ${host}` : `${port} on ${host} is free`)
  if (code === 'EADDRINUSE') {
    const alive = await fetch(`http://127.0.0.1:${port}/healthz`, {
      signal: AbortSignal.timeout(2_000),
    })
      .then(async (response) => response.ok && (await response.text()).includes('alive'))
      .catch(() => false)
    if (alive) return ok(`Glimpse listens on ${port} already`)
    return fail(
      `${port} on ${host} is taken by another program`,
      'Set GLIMPSE_PORT to another; 0 takes a free one.',
    )
  }
  return fail(
    `cannot listen on ${host}:${port} (${code})`,
    'Set GLIMPSE_HOST to an address of this machine and GLIMPSE_PORT to a port that this user may have.',
  )
}

function codeOfListening(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
}

/** Who may ask over HTTP. */
export function checkAccess({ host, apiToken }: { host: string; apiToken: string }): Finding {
  if (isLocal(host)) return ok('only programs of this machine may ask')
  if (apiToken !== '') return ok('whoever has GLIMPSE_API_TOKEN may ask')
  return warn(
    `whoever reaches ${host} may ask`,
    'Set GLIMPSE_API_TOKEN (openssl rand -hex 32), or let only a proxy of yours reach it.',
  )
}

/** Slack takes no signature, and AWS no request, that is more than five minutes off. */
const MOST_SKEW_MS = 300_000
const NOTED_SKEW_MS = 30_000

/** @param address whose Date is believed: one that is asked anyway; undefined when there is none */
export async function checkClock(
  address: string | undefined,
  now: () => number = Date.now,
): Promise<Finding> {
  if (address === undefined) return skipped('nothing is set up that has a clock to compare with')
  const response = await fetch(address, {
    method: 'HEAD',
    redirect: 'manual',
    signal: AbortSignal.timeout(5_000),
  }).catch(() => undefined)
  const theirs = Date.parse(response?.headers.get('date') ?? '')
  const host = new URL(address).host
  if (Number.isNaN(theirs)) return skipped(`${host} did not tell the time`)
  const skewMs = Math.abs(theirs - now())
  const found = `${Math.round(skewMs / 1000)} s off the clock of ${host}`
  const todo = 'Let the machine set its clock (NTP): signatures of Slack and AWS hold for five minutes.'
  if (skewMs >= MOST_SKEW_MS) return fail(found, todo)
  return skewMs >= NOTED_SKEW_MS ? warn(found, todo) : ok(found)
}

function megabytes(bytes: number): string {
  return String(Math.round(bytes / 1e6))
}

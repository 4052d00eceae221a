// The server under load: npx tsx bench/load.ts [--rows steady,overload,ping,fairness,attack] [--seconds 60] [--model folder]
//
// steady: 80 % of the engine's capacity. overload: ten times the capacity. ping: /ping while a real model runs (after npm run
// compile). fairness: one tenant floods, another sends one request a second. attack: as steady, with attackers. All rows
// except ping use a stub engine. This process makes the load, the server is another process. Each figure is printed with its
// target.

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  ask,
  constantRate,
  printRow,
  quantile,
  type RequestOutcome,
  send,
  startStub,
  summary,
} from './traffic.ts'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: 'steady,overload,ping,fairness,attack' },
    seconds: { type: 'string', default: '60' },
    model: { type: 'string' },
  },
})
const SECONDS = Number(values.seconds)
const SERVICE_MS = 20
/** For fairness. Longer, so that the turns dominate the measurement and not other work on the machine. */
const FAIR_SERVICE_MS = 100
const MAX_QUEUE = 8
const CAPACITY_PER_S = 1000 / SERVICE_MS
const ROOT = join(import.meta.dirname, '..')
const TOKEN = 'token-of-this-bench'
const tenant = (name: string) => ({ authorization: `Bearer ${TOKEN}`, 'x-glimpse-tenant': name })

const stubWith = (batch: number, token?: string, serviceMs = SERVICE_MS) =>
  startStub({ serviceMs, maxQueue: MAX_QUEUE, batch, token })
const msOf = (outcomes: readonly RequestOutcome[]) => outcomes.map(({ ms }) => ms)
const withStatus = (outcomes: readonly RequestOutcome[], ...statuses: number[]) =>
  outcomes.filter(({ status }) => statuses.includes(status))

const rows: Record<string, () => Promise<void>> = {
  async steady() {
    const stub = await stubWith(1)
    await constantRate(CAPACITY_PER_S * 0.5, 2, () => ask(stub.port))
    const outcomes = await constantRate(CAPACITY_PER_S * 0.8, SECONDS, () => ask(stub.port))
    await stub.stop()
    console.log(`steady ${summary(outcomes)}`)
    printRow('steady errors', outcomes.length - withStatus(outcomes, 200).length, 0, '')
    printRow('steady added to the engine’s 20 ms, p99', quantile(0.99, msOf(outcomes)) - SERVICE_MS, 25, 'ms')
  },

  async overload() {
    const stub = await stubWith(1)
    const alone = await constantRate(CAPACITY_PER_S * 0.5, 4, () => ask(stub.port))
    const serviceMs = quantile(0.5, msOf(alone))
    // Warm-up: compiles code and allocates buffers.
    await constantRate(CAPACITY_PER_S * 10, 3, () => ask(stub.port))
    const before = await stub.memory()
    const outcomes = await constantRate(CAPACITY_PER_S * 10, SECONDS, () => ask(stub.port))
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const after = await stub.memory()
    await stub.stop()
    const accepted = withStatus(outcomes, 200)
    const refused = withStatus(outcomes, 429)
    console.log(`overload ${summary(outcomes)}`)
    printRow('overload accepted, p95', quantile(0.95, msOf(accepted)), (MAX_QUEUE + 1.2) * serviceMs, 'ms')
    printRow('overload refused, p99', quantile(0.99, msOf(refused)), 20, 'ms')
    printRow('overload refused without Retry-After', refused.filter((each) => !each.retryAfter).length, 0, '')
    printRow('overload other errors', outcomes.length - accepted.length - refused.length, 0, '')
    printRow('overload resident memory afterwards against before', (after / before - 1) * 100, 10, '%')
  },

  async ping() {
    const model = values.model ? ['--model', values.model] : []
    const server = spawn(process.execPath, ['dist/cli/main.js', 'serve', '--port', '0', ...model], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const port = await new Promise<number>((resolve, reject) => {
      let printed = ''
      server.stdout.on('data', (text) => {
        printed += text
        const [, found] = /Page +http:\/\/[^:]+:(\d+)/.exec(printed) ?? []
        if (found) resolve(Number(found))
      })
      server.once('exit', () => reject(new Error(`The server exited before it was ready: ${printed}`)))
    })
    const picture = await readFile(join(ROOT, 'models/demo/crab-and-helicopter.png'))
    let isOver = false
    let captions = 0
    const busy = async () => {
      while (!isOver) {
        // Other bytes at the end change the sha256, so the stage caches miss.
        const image = Buffer.concat([picture, Buffer.from(String(captions++))]).toString('base64')
        const body = JSON.stringify({ image })
        const { status } = await send(
          port,
          'POST',
          '/v1/caption',
          { 'content-type': 'application/json' },
          body,
        )
        if (status !== 200) throw new Error(`Expected a caption but got status ${status}.`)
      }
    }
    const running = Promise.all([busy(), busy()])
    const pings = await constantRate(100, SECONDS, () => send(port, 'GET', '/ping'))
    isOver = true
    await running
    server.kill('SIGTERM')
    console.log(`ping ${captions} captions meanwhile, pings ${summary(pings)}`)
    printRow('ping failed', pings.length - withStatus(pings, 200).length, 0, '')
    printRow('ping /ping, p99', quantile(0.99, msOf(pings)), 50, 'ms')
    printRow('ping /ping, max', quantile(1, msOf(pings)), 250, 'ms')
  },

  async fairness() {
    for (const batch of [1, 8]) {
      const stub = await stubWith(batch, TOKEN, FAIR_SERVICE_MS)
      const quiet = () => constantRate(1, SECONDS, () => ask(stub.port, tenant('quiet')))
      await warmUp(stub.port)
      const alone = quantile(0.95, msOf(await quiet()))
      const flood = constantRate(10_000 / FAIR_SERVICE_MS, SECONDS, () => ask(stub.port, tenant('flood')))
      const outcomes = await quiet()
      await flood
      await stub.stop()
      const loaded = quantile(0.95, msOf(outcomes))
      const queues = outcomes.map(({ queueMs }) => queueMs)
      const beside = [quantile(0.5, msOf(outcomes)), loaded, quantile(0.95, queues)].map((ms) =>
        ms.toFixed(1),
      )
      console.log(
        `fairness batch ${batch}: alone p95 ${alone.toFixed(1)} ms; beside a flood p50 ${beside[0]}, p95 ${beside[1]} ms, of which waiting for its turn p95 ${beside[2]} ms`,
      )
      console.log(`fairness batch ${batch}: quiet tenant ${summary(outcomes)}`)
      printRow(
        `fairness batch ${batch}: refused or failed`,
        outcomes.length - withStatus(outcomes, 200).length,
        0,
        '',
      )
      printRow(`fairness batch ${batch}: p95 against alone`, loaded / alone, 2, 'x')
    }
  },

  async attack() {
    const stub = await stubWith(1)
    await constantRate(CAPACITY_PER_S * 0.5, 2, () => ask(stub.port))
    const attack = attackers(stub.port)
    const outcomes = await constantRate(CAPACITY_PER_S * 0.8, SECONDS, () => ask(stub.port))
    const attacks = attack.stop()
    await stub.stop()
    console.log(`attack ${attacks} attacks meanwhile, valid requests ${summary(outcomes)}`)
    printRow('attack errors of valid requests', outcomes.length - withStatus(outcomes, 200).length, 0, '')
    printRow('attack added to the engine’s 20 ms, p99', quantile(0.99, msOf(outcomes)) - SERVICE_MS, 25, 'ms')
  },
}

async function warmUp(port: number): Promise<void> {
  for (let i = 0; i < 20; i++) await ask(port, tenant('warm'))
}

/** Opens fifty connections with headers that never end, and sends one request of each other kind every tenth of a second. */
function attackers(port: number): { stop(): number } {
  let attacks = 0
  const sendRaw = (text: string) => {
    attacks++
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(text)
    return socket
  }
  const post = (headers: string, body = '') =>
    `POST /v1/caption HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n${body}`
  const slow = Array.from({ length: 50 }, () => sendRaw(post('').slice(0, -2)))
  const trickle = setInterval(() => {
    for (const socket of slow) if (!socket.destroyed) socket.write('X-A: b\r\n')
  }, 500)
  const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
  const json = (body: string) =>
    post(`Content-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n`, body)
  const KINDS = [
    post(`X-A: ${'b'.repeat(65_536)}\r\n`),
    post('Transfer-Encoding: chunked\r\n', 'zz\r\n'),
    post('Content-Length: 99999999\r\nContent-Type: image/png\r\nConnection: close\r\n'),
    json(deep),
    json('{"image":"a*b="}'),
    json('{"image":"AAAA","question":["a"]}'),
    '\x16\x03\x01\r\n\r\n',
  ]
  const burst = setInterval(() => {
    for (const kind of KINDS) sendRaw(kind)
  }, 100)
  return {
    stop() {
      clearInterval(trickle)
      clearInterval(burst)
      for (const socket of slow) socket.destroy()
      return attacks
    },
  }
}

for (const name of values.rows.split(',')) {
  const run = rows[name]
  if (!run) throw new Error(`Expected rows of ${Object.keys(rows).join(', ')} but got ${name}.`)
  await run()
}
process.exit()

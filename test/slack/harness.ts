// The Slack app connected to a double of Slack on this machine: emulate-server.mjs (the peer), a relay before it that injects
// faults, and the app behind an HTTP address that receives the peer's signed events.

import { type ChildProcess, fork } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { webApi } from '@slack/bolt'
import { openPreferences, type Preferences } from '../../src/chat/preferences.ts'
import { openProcessor, type QuestionProcessor } from '../../src/chat/processor.ts'
import type { RateLimiter } from '../../src/chat/rate-limit.ts'
import type { Engine } from '../../src/engine/engine.ts'
import { MENTION_DELAY_MS, slackApp } from '../../src/slack/events.ts'
import { slackPlatform } from '../../src/slack/platform.ts'
import { type RequestReceiver, requestReceiver } from '../../src/slack/webhook.ts'
import { openDiskStore } from '../../src/store/disk.ts'
import type { Store } from '../../src/store/store.ts'
import { testLimiter } from '../chat/in-memory-store.ts'

export const SECRET = 'signing-secret-of-the-tests'
export const BOT_TOKEN = 'xoxb-of-the-tests'
const HOUR_MS = 3_600_000
const NEVER = new Promise<never>(() => {})

/** Returns the fault of a relayed call; undefined relays it. */
export type Fault = (
  call: Call,
) => undefined | 'lose answer' | { status: number; headers?: Record<string, string>; body?: string }

export interface Call {
  /** `chat.postMessage`, or the path of a file. */
  method: string
  body: Record<string, string>
}

export interface SlackHarness {
  /** A user's client of the peer. */
  ann: webApi.WebClient
  ben: webApi.WebClient
  annId: string
  benId: string
  botId: string
  team: string
  /** Id of a public channel with all users and the bot. */
  channel: string
  processor: QuestionProcessor
  preferences: Preferences
  /** Calls of the app in order. */
  calls: Call[]
  /** Bodies posted to response_urls. */
  responses: { text: string }[]
  responseUrl: string
  reported: unknown[]
  /** Returns a trigger_id, with which the app can open one modal. */
  trigger(user: string): Promise<string>
  fault(fault: Fault | undefined): void
  /** Pauses of the question processor in ms. */
  slept: number[]
  /** Signs and sends a payload as Slack does. */
  send(
    body: Record<string, unknown> | URLSearchParams,
    headers?: Record<string, string>,
  ): Promise<{ status: number; text: string }>
  /** Posts pictures as a user. */
  upload(who: webApi.WebClient, pictures: Uint8Array[], text?: string, thread_ts?: string): Promise<string>
  /** Returns the replies in a thread. */
  thread(ts: string, channel?: string): Promise<ThreadReply[]>
  /** Stops the app and starts another on the same store. */
  restart(): Promise<void>
  /** Simulates a crash: from now on the app's calls to the store have no effect. */
  kill(): void
  /** Starts another process on the same store, half a minute later. */
  revive(): Promise<void>
  close(): Promise<void>
}

export interface ThreadReply {
  ts: string
  user: string
  text: string
  blocks: unknown[]
}

export interface SlackHarnessOptions {
  engine: Engine | Promise<Engine>
  limits?: RateLimiter
  maxQueue?: number
}

export async function startSlackHarness(options: SlackHarnessOptions): Promise<SlackHarness> {
  const calls: Call[] = []
  const responses: { text: string }[] = []
  const reported: unknown[] = []
  let fault: Fault | undefined
  let receiver: RequestReceiver
  let processor: QuestionProcessor
  let preferences: Preferences
  let stopApp = async () => {}
  let kill = () => {}
  let passedMs = 0
  const now = () => Date.now() + passedMs
  const slept: number[] = []
  let waiting = 0
  const held: (() => void)[] = []
  /** Holds the delay of a mention until a test waits in `drained()`, so that its second event arrives first. Other pauses end at once. */
  const sleep = (ms: number) => {
    slept.push(ms)
    return new Promise<void>((resolve) => {
      if (ms === MENTION_DELAY_MS && waiting === 0) held.push(resolve)
      else setImmediate(resolve)
    })
  }

  const relay = await serve(async (request, body) => {
    if (request.url === '/slack/events') {
      const sent = new Request('http://app/slack/events', {
        method: 'POST',
        headers: request.headers as Record<string, string>,
        body: body as BodyInit,
      })
      return await receiver.handle(sent)
    }
    if (request.url === '/response') {
      responses.push(JSON.parse(body.toString()))
      return new Response('ok')
    }
    const isFromApp = request.headers.authorization === `Bearer ${BOT_TOKEN}`
    const call = {
      method: request.url!.replace(/^\/api\//, ''),
      body: Object.fromEntries(new URLSearchParams(body.toString())),
    }
    const injected = isFromApp ? fault?.(call) : undefined
    if (isFromApp) calls.push(call)
    if (injected && injected !== 'lose answer')
      return new Response(injected.body ?? '{"ok":false,"error":"not_in_channel"}', injected)
    const answer = await forward(`${peerUrl}${request.url}`, request, body)
    return injected === 'lose answer' ? new Response(null, { status: 502 }) : answer
  })
  const relayUrl = `http://127.0.0.1:${(relay.address() as AddressInfo).port}`

  const peer = await startPeer(relayUrl)
  const peerUrl = peer.url
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-slack-'))
  const settings = { botToken: BOT_TOKEN, signingSecret: SECRET, apiUrl: `${relayUrl}/api/` }

  const startApp = async () => {
    const life = { isOver: false }
    kill = () => {
      life.isOver = true
    }
    const store = crashable(await openDiskStore(folder, now), life)
    const report = (error: unknown) => reported.push(error)
    const platform = slackPlatform(settings)
    const engine = Promise.resolve(options.engine)
    preferences = openPreferences(store)
    // Without a timeout, the response to an event is sent only after its listeners; `processor.drained()` then includes it.
    receiver = requestReceiver({ signingSecret: SECRET, report, sleep: () => NEVER })
    processor = openProcessor({
      engine,
      store,
      platforms: [platform],
      rateLimiter: options.limits ?? testLimiter({ perMinute: 1_000, perHour: 1_000 }),
      preferences,
      maxQueue: options.maxQueue ?? 8,
      keepMs: HOUR_MS,
      report,
      now,
      sleep,
    })
    const { drained } = processor
    processor.drained = async () => {
      waiting++
      for (const pass of held.splice(0)) pass()
      await drained().finally(() => waiting--)
    }
    const app = slackApp({
      settings,
      platform,
      sink: processor,
      preferences,
      engine,
      keepMs: HOUR_MS,
      receiver,
      report,
    })
    await app.start()
    await processor.recoverAbandoned()
    stopApp = async () => {
      await app.stop()
      await processor.shutdown()
    }
  }

  await startApp()
  const client = (token: string) =>
    new webApi.WebClient(token, { slackApiUrl: `${peerUrl}/api/`, logLevel: webApi.LogLevel.ERROR })
  const [ann, ben, bot] = [client('xoxp-ann'), client('xoxp-ben'), client(BOT_TOKEN)]
  const [annTest, benTest, botTest] = await Promise.all([ann.auth.test(), ben.auth.test(), bot.auth.test()])
  const { channel } = await ann.conversations.create({ name: 'pictures' })
  await ann.conversations.invite({ channel: channel!.id!, users: `${benTest.user_id},${botTest.user_id}` })
  calls.length = 0

  return {
    ann,
    ben,
    annId: annTest.user_id!,
    benId: benTest.user_id!,
    botId: botTest.user_id!,
    team: annTest.team_id!,
    channel: channel!.id!,
    get processor() {
      return processor
    },
    get preferences() {
      return preferences
    },
    calls,
    responses,
    slept,
    responseUrl: `${relayUrl}/response`,
    reported,
    async trigger(user_id) {
      const answer: object = await bot.apiCall('views.generateTriggerId', { user_id })
      const { trigger_id } = answer as { trigger_id?: unknown }
      return trigger_id as string
    },
    fault: (next) => {
      fault = next
    },
    async send(body, headers = {}) {
      const isForm = body instanceof URLSearchParams
      const raw = isForm ? body.toString() : JSON.stringify(body)
      const timestamp = String(Math.floor(Date.now() / 1000))
      const signature = `v0=${createHmac('sha256', SECRET).update(`v0:${timestamp}:${raw}`).digest('hex')}`
      const response = await fetch(`${relayUrl}/slack/events`, {
        method: 'POST',
        body: raw,
        headers: {
          'content-type': isForm ? 'application/x-www-form-urlencoded' : 'application/json',
          'x-slack-request-timestamp': timestamp,
          'x-slack-signature': signature,
          ...headers,
        },
      })
      return { status: response.status, text: await response.text() }
    },
    async upload(who, pictures, text, thread_ts) {
      const file_uploads = pictures.map((file, index) => ({
        file: Buffer.from(file),
        filename: `picture-${index}.png`,
      }))
      await who.filesUploadV2({
        channel_id: channel!.id!,
        initial_comment: text,
        thread_ts,
        file_uploads,
      } as never)
      const { messages } = thread_ts
        ? await who.conversations.replies({ channel: channel!.id!, ts: thread_ts })
        : await who.conversations.history({ channel: channel!.id! })
      const withFiles = messages!.filter(({ files }) => files && files.length > 0)
      return withFiles
        .map(({ ts }) => ts!)
        .sort()
        .at(-1)!
    },
    async thread(ts, where = channel!.id!) {
      const { messages } = await ann.conversations.replies({ channel: where, ts })
      return (messages ?? [])
        .filter((message) => message.ts !== ts)
        .map((message) => ({
          ts: message.ts!,
          user: message.user!,
          text: message.text!,
          blocks: message.blocks ?? [],
        }))
    },
    async restart() {
      await stopApp()
      await startApp()
    },
    kill: () => kill(),
    async revive() {
      passedMs += 31_000
      await startApp()
    },
    async close() {
      await stopApp()
      await processor.drained()
      peer.process.kill()
      relay.closeAllConnections()
      relay.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Returns the envelope of an event as Slack sends it. */
export function envelope(team: string, event: Record<string, unknown>): Record<string, unknown> {
  return {
    token: 'unused',
    team_id: team,
    api_app_id: 'A0TEST',
    type: 'event_callback',
    event_id: `Ev${randomUUID().replaceAll('-', '').slice(0, 10).toUpperCase()}`,
    event_time: Math.floor(Date.now() / 1000),
    event_context: 'EC0TEST',
    authorizations: [{ enterprise_id: null, team_id: team, user_id: 'UBOT', is_bot: true }],
    event,
  }
}

/** Wraps a store so that its calls never resolve after `life.isOver`. */
function crashable(store: Store, life: { isOver: boolean }): Store {
  return new Proxy(store, {
    get:
      (target, name: keyof Store) =>
      async (...given: unknown[]) => {
        const done = life.isOver
          ? undefined
          : await (target[name] as (...all: unknown[]) => unknown)(...given)
        return life.isOver ? new Promise(() => {}) : done
      },
  })
}

export function startPeer(publicUrl: string): Promise<{ url: string; process: ChildProcess }> {
  const seed = {
    users: [{ name: 'ann' }, { name: 'ben' }, { name: 'glimpse' }],
    bots: [{ name: 'glimpse' }],
    tokens: [
      { token: 'xoxp-ann', type: 'user', user: 'ann' },
      { token: 'xoxp-ben', type: 'user', user: 'ben' },
      { token: BOT_TOKEN, type: 'bot', user: 'glimpse' },
    ],
  }
  const given = JSON.stringify({ baseUrl: publicUrl, seed, signingSecret: SECRET })
  const child = fork(join(import.meta.dirname, 'emulate-server.mjs'), [given], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [],
  })
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`The peer exited with ${code}.`)))
    child.once('message', ({ url }: { url: string }) => {
      child.once('message', () => resolve({ url, process: child }))
      child.send({ eventsUrl: `${publicUrl}/slack/events` })
    })
  })
}

async function serve(answer: (request: IncomingMessage, body: Buffer) => Promise<Response>): Promise<Server> {
  const server = createServer(async (request, response) => {
    try {
      const answered = await answer(request, await buffer(request))
      response.writeHead(answered.status, Object.fromEntries(answered.headers))
      response.end(Buffer.from(await answered.arrayBuffer()))
    } catch (error) {
      response.destroy(error as Error)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

async function forward(url: string, request: IncomingMessage, body: Buffer): Promise<Response> {
  const { host, connection, 'content-length': _, ...headers } = request.headers
  const hasBody = request.method !== 'GET' && request.method !== 'HEAD'
  const response = await fetch(url, {
    method: request.method,
    headers: headers as Record<string, string>,
    ...(hasBody ? { body: body as BodyInit } : {}),
    redirect: 'manual',
  })
  const { status } = response
  const type = response.headers.get('content-type')
  return new Response(await response.arrayBuffer(), { status, headers: type ? { 'content-type': type } : {} })
}

// What `serve`, `listen` and `work` share: the engine, and a server that runs until a signal.

import { type Chat, openChat } from '../app/chat.ts'
import { openEngine } from '../app/engine.ts'
import { serverOptions } from '../app/server.ts'
import { type Config, wantsChat } from '../config.ts'
import type { Engine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { reportAs } from '../observe/report.ts'
import { PLATFORMS } from '../platforms.ts'
import { startServer } from '../serve/server.ts'
import { type AddressFlags, type ModelFlags, modelFor } from './flags.ts'
import { stopOnSignals } from './signals.ts'

export const report = reportAs('chat_failed')

/** Address to listen on: from the flags, else from the settings. */
export function addressOf({ host, port }: AddressFlags, config: Config) {
  return { host: host ?? config.host, port: port ?? config.port }
}

/**
 * Starts the engine, the HTTP server and, where a platform is configured, the chats. Resolves when all are ready.
 * /healthz answers while the model is opening. A failure closes all of them.
 * @param receives whether this process receives the platforms' events, or only answers what is in the queue
 */
export async function startServing(flags: ModelFlags & AddressFlags, config: Config, receives: boolean) {
  const options = await serverOptions(config)
  const engine = openEngine(
    config,
    async () => ({ ...(await modelFor(flags, config)), warmUp: true }),
    wantsChat(config),
  )
  const opening = wantsChat(config) ? openChat({ config, engine, receives, report }) : undefined
  let opened: Chat | undefined
  // A failure surfaces below, where both are awaited.
  opening?.then((chat) => (opened = chat)).catch(() => {})
  const server = await startServer(engine, {
    ...addressOf(flags, config),
    ...options,
    handlers: receives && opening ? handlersOf(opening) : undefined,
    chatFault: () => opened?.fault(),
    stopAlso: async (graceMs) => await (await opening)?.stop(graceMs),
  }).catch(async (error: unknown) => {
    await closeEngine(engine)
    throw error
  })
  stopOnSignals(server.close)
  try {
    // Chats start while the model opens: questions are answered as soon as it is ready.
    const [{ model }, chat] = await Promise.all([engine, opening, opening?.then((chat) => chat.start())])
    return { server, model, platforms: chat?.names ?? [], hints: chat?.hints() ?? [] }
  } catch (error) {
    await server.close()
    throw error
  }
}

async function closeEngine(engine: Promise<Engine>): Promise<void> {
  const open = await engine.catch(() => undefined)
  await open?.close()
}

/** Routes exist immediately; a request waits until the chats are open. */
function handlersOf(opening: Promise<Chat>): Chat['handlers'] {
  const handler = (path: string) => async (request: Request) =>
    (await opening).handlers[path]?.(request) ?? new Response(null, { status: 404 })
  return Object.fromEntries(PLATFORMS.map(({ webhookPath }) => [webhookPath, handler(webhookPath)]))
}

/**
 * Checks the settings of a command that needs a queue and a platform, before anything is loaded.
 * @throws SetupError `no_chat`, `no_queue`
 */
export function requireQueue(config: Config, command: 'listen' | 'work'): void {
  const help = `See: npx glimpse ${command} --help`
  if (!wantsChat(config)) {
    const labels = PLATFORMS.map(({ label }) => label).join(' or ')
    throw new SetupError('no_chat', `No token of ${labels} is set. ${help}`)
  }
  if (config.queue !== '') return
  throw new SetupError('no_queue', `GLIMPSE_QUEUE is not set. Set it to the URL of an SQS queue. ${help}`)
}

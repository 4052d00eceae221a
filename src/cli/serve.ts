// glimpse serve: the local page and the HTTP endpoint, until it is stopped.

import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { type Config, readConfig, SETTINGS } from '../config.ts'
import { isKnown } from '../errors.ts'
import { type Engine, startEngine } from '../job/engine.ts'
import type { Chat } from '../serve/chat.ts'
import { type RunningServer, startServer } from '../serve/server.ts'
import type { Uploads } from '../serve/uploads.ts'
import { curlField, shellWord } from '../shell.ts'
import { below } from '../store/open.ts'
import { addModelFlags, type ModelFlags, modelFor, parserOf } from './flags.ts'

const SAMPLE = fileURLToPath(new URL('../../models/demo/crab-and-helicopter.png', import.meta.url))

const HOUR_MS = 3_600_000
/** Cloud Run and docker kill after 10 s; what is not answered by then is after the next start. */
const CHAT_GRACE_MS = 4_000

const HELP = `
Examples:
  $ npx glimpse serve
  $ npx glimpse serve --port 0                          whichever port is free
  $ npx glimpse serve --model ./blip2-int4
  $ npx glimpse serve --host 0.0.0.0                    for other machines too
`

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('starts a local page and an HTTP endpoint')
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option(
      '--port <number>',
      'port to listen on; 0 takes a free one (default: 8080)',
      parserOf(SETTINGS.port),
    )
    .addHelpText('after', HELP)
  addModelFlags(command)
  return command.action(async (options: ModelFlags & { host?: string; port?: number }) => {
    const config = readConfig()
    // Opened while the server already answers /healthz; a failure is told where it is awaited.
    const engine = engineFor(options, config)
    const report = (error: unknown) => process.stderr.write(`${lineOf(error)}\n`)
    let chat: Chat | undefined
    try {
      chat = wantsChat(config) ? await openChat(config, engine, report) : undefined
      const server = await startServer(engine, {
        host: options.host ?? config.host,
        port: options.port ?? config.port,
        hosts: config.allowedHosts
          .split(',')
          .map((name) => name.trim())
          .filter((name) => name !== ''),
        maxQueue: config.maxQueue,
        deadlineMs: config.deadlineMs,
        uploads: await uploadsFor(config),
        handlers: chat?.handlers,
      })
      const stop = () => void stopAll(server, chat).then(() => process.exit())
      process.once('SIGINT', stop)
      process.once('SIGTERM', stop)
      // Chats listen while the model still opens: whoever asks meanwhile is answered as soon as it has.
      const opened = await Promise.all([engine, chat?.start()]).catch(async (error: unknown) => {
        await stopAll(server, chat)
        throw error
      })
      const [{ model }] = opened
      process.stdout.write(welcome(server.url, model.name, options.model ?? config.model, chat?.names))
    } catch (error) {
      const open = await engine.catch(() => undefined)
      await open?.close()
      throw error
    }
  })
}

/** With chats, what the model saw is remembered over a restart, so that their threads go on. */
async function engineFor(options: ModelFlags, config: Config): Promise<Engine> {
  const place = below(config.state, 'seen')
  const memory = wantsChat(config) ? { place, ttlMs: config.keepHours * HOUR_MS } : undefined
  return await startEngine({ ...(await modelFor(options)), memory })
}

/** What the log gets of a failure in a chat: never what was asked. */
function lineOf(error: unknown): string {
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  return `${new Date().toISOString()} ${isKnown(error) ? message : stack}`
}

function wantsChat({
  slackBotToken,
  slackAppToken,
  slackSigningSecret,
  discordToken,
  discordPublicKey,
}: Config): boolean {
  return [slackBotToken, slackAppToken, slackSigningSecret, discordToken, discordPublicKey].some(
    (given) => given !== '',
  )
}

/** Loaded only here: the SDK takes a while. */
async function uploadsFor({ uploads }: Config): Promise<Uploads | undefined> {
  if (uploads === '') return undefined
  return (await import('../serve/bucket-uploads.ts')).openUploads(uploads)
}

/** Loaded only here: the platforms' libraries take half a second. */
async function openChat(...given: Parameters<typeof import('../serve/chat.ts').openChat>): Promise<Chat> {
  return await (await import('../serve/chat.ts')).openChat(...given)
}

/** Chats first: what they are answering needs the model. */
async function stopAll(server: RunningServer, chat: Chat | undefined): Promise<void> {
  await chat?.stop(CHAT_GRACE_MS)
  await server.close()
}

/** Each line works as it stands, in another shell too. */
function welcome(url: string, model: string, folder: string, chats: readonly string[] = []): string {
  const sample = relative(process.cwd(), SAMPLE)
  return `
Glimpse is ready with ${model}.

  Page           ${url}/
  HTTP           curl -F ${curlField('image', sample)} ${url}/v1/caption
  Command line   npx glimpse ask${folder === '' ? '' : ` --model ${shellWord(folder)}`} ${shellWord(sample)} "what is on the left?"${chats.map((name) => `\n  ${name.padEnd(14)} listening`).join('')}

Ctrl-C stops it.
`
}

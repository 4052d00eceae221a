// glimpse serve: the local page and the HTTP endpoint, until it is stopped.

import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Argument, Command } from 'commander'
import { loadConfig } from '../aws/lifecycle.ts'
import { SETTINGS } from '../config.ts'
import type { Engine } from '../engine/engine.ts'
import { log } from '../observe/log.ts'
import { reportAs } from '../observe/report.ts'
import type { Chat } from '../serve/chat.ts'
import { DISCORD_PATH, SLACK_PATH } from '../serve/paths.ts'
import { startServer } from '../serve/server.ts'
import { serverSettings, wantsChat } from '../serve/settings.ts'
import { stopOnSignals } from '../serve/signals.ts'
import { curlField, shellWord } from '../shell.ts'
import { engineFor, openChat } from './chats.ts'
import { addModelFlags, type ModelFlags, parserOf } from './flags.ts'

const SAMPLE = fileURLToPath(new URL('../../models/demo/crab-and-helicopter.png', import.meta.url))

const HELP = `
Examples:
  $ npx glimpse serve
  $ npx glimpse serve --port 0                          whichever port is free
  $ npx glimpse serve --model ./blip2-int4
  $ npx glimpse serve --host 0.0.0.0                    for other machines too

With tokens of Slack or Discord set it hears and answers there, too; with GLIMPSE_QUEUE set their questions go through
that queue, and this process also works on it. To hear and to answer on two machines: glimpse listen, glimpse work.
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
    // SageMaker starts an image with this word, whatever the image starts with by itself.
    .addArgument(new Argument('[serve]').choices(['serve']))
    .usage('[options]')
    .addHelpText('after', HELP)
  addModelFlags(command)
  return command.action(
    async (_: string | undefined, options: ModelFlags & { host?: string; port?: number }) => {
      const config = await loadConfig()
      const settings = await serverSettings(config)
      // Opened while the server already answers /healthz; a failure is told where it is awaited.
      const engine = engineFor(options, config)
      const report = reportAs('chat_failed')
      const chat = wantsChat(config) ? openChat({ config, engine, receivesEvents: true, report }) : undefined
      // Told below, where it is awaited.
      chat?.catch(() => {})
      const server = await startServer(engine, {
        host: options.host ?? config.host,
        port: options.port ?? config.port,
        ...settings,
        handlers: chat && handlersOf(chat),
        stopAlso: async (graceMs) => await (await chat)?.stop(graceMs),
      }).catch(async (error: unknown) => {
        await closeEngine(engine)
        throw error
      })
      stopOnSignals(server.close)
      try {
        // Chats listen while the model still opens: whoever asks meanwhile is answered as soon as it has.
        const [{ model }, open] = await Promise.all([engine, chat, chat?.then((opened) => opened.start())])
        log.info('ready', { model: model.name, port: server.port })
        const given = { url: server.url, model: model.name, folder: options.model ?? config.model }
        process.stdout.write(welcome({ ...given, needsToken: config.apiToken !== '', chats: open?.names }))
      } catch (error) {
        await server.close()
        throw error
      }
    },
  )
}

async function closeEngine(engine: Promise<Engine>): Promise<void> {
  const open = await engine.catch(() => undefined)
  await open?.close()
}

/** Under their addresses at once, although the chats are still opening. */
function handlersOf(chat: Promise<Chat>): Chat['handlers'] {
  const handler = (path: string) => async (request: Request) =>
    (await chat).handlers[path]?.(request) ?? new Response(null, { status: 404 })
  return Object.fromEntries([SLACK_PATH, DISCORD_PATH].map((path) => [path, handler(path)]))
}

interface Welcome {
  url: string
  model: string
  folder: string
  needsToken: boolean
  chats?: readonly string[]
}

/** Each line works as it stands, in another shell too, where the token is in its environment. */
function welcome({ url, model, folder, needsToken, chats = [] }: Welcome): string {
  const sample = relative(process.cwd(), SAMPLE)
  const token = needsToken ? `-H "authorization: Bearer $${SETTINGS.apiToken.env}" ` : ''
  return `
Glimpse is ready with ${model}.

  Page           ${url}/
  HTTP           curl ${token}-F ${curlField('image', sample)} ${url}/v1/caption
  Command line   npx glimpse ask${folder === '' ? '' : ` --model ${shellWord(folder)}`} ${shellWord(sample)} "what is on the left?"${chats.map((name) => `\n  ${name.padEnd(14)} listening`).join('')}

Ctrl-C stops it.
`
}

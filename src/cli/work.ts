// glimpse work: the model here answers what the queue holds. Nobody needs to reach this machine.

import { Command } from 'commander'
import { loadConfig } from '../aws/lifecycle.ts'
import { SETTINGS } from '../config.ts'
import { log } from '../observe/log.ts'
import { reportAs } from '../observe/report.ts'
import { startServer } from '../serve/server.ts'
import { serverSettings } from '../serve/settings.ts'
import { stopOnSignals } from '../serve/signals.ts'
import { engineFor, openChat, requireQueue } from './chats.ts'
import { addModelFlags, type ModelFlags, parserOf } from './flags.ts'

const HELP = `
Takes questions from the queue, lets the model here answer them and posts the replies. It calls SQS, the store, Slack and
Discord; none of them calls it, so a machine with a GPU behind a firewall will do. Any number of them may work on one queue.

Needs    GLIMPSE_QUEUE   the FIFO queue in SQS that "glimpse listen" or the functions "slack" and "discord" fill
         GLIMPSE_STATE   s3://bucket/prefix, the same as theirs; a folder on one machine
         SLACK_BOT_TOKEN, DISCORD_TOKEN   to fetch pictures and to reply

Examples:
  $ export GLIMPSE_QUEUE=https://sqs.eu-central-1.amazonaws.com/123456789012/questions.fifo GLIMPSE_STATE=s3://bucket/state
  $ export SLACK_BOT_TOKEN=xoxb-... DISCORD_TOKEN=...
  $ npx glimpse work --model ./blip2-int4
  $ GLIMPSE_PROVIDER=cuda npx glimpse work --model s3://bucket/models/blip2

On this machine alone it also answers /healthz, /readyz, /metrics and whatever "glimpse serve" does. SIGTERM stops it within
8 s: what is answered by then is answered, the rest goes back to the queue for others.
`

export function workCommand(): Command {
  const command = new Command('work')
    .description('answers the questions in the queue with the model here')
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option(
      '--port <number>',
      'port to listen on; 0 takes a free one (default: 8080)',
      parserOf(SETTINGS.port),
    )
    .addHelpText('after', HELP)
  addModelFlags(command)
  return command.action(async (options: ModelFlags & { host?: string; port?: number }) => {
    const config = await loadConfig()
    requireQueue(config, 'work')
    const engine = engineFor(options, config)
    engine.catch(() => {})
    const closeEngine = async () => await (await engine.catch(() => undefined))?.close()
    try {
      const chat = await openChat({ config, engine, receivesEvents: false, report: reportAs('chat_failed') })
      const server = await startServer(engine, {
        host: options.host ?? config.host,
        port: options.port ?? config.port,
        ...(await serverSettings(config)),
        stopAlso: chat.stop,
      })
      stopOnSignals(server.close)
      const [{ model }] = await Promise.all([engine, chat.start()]).catch(async (error: unknown) => {
        await server.close()
        throw error
      })
      log.info('working', { model: model.name, port: server.port })
      process.stdout.write(
        `Glimpse works on the queue with ${model.name}, for ${chat.names.join(' and ')}.\nCtrl-C stops it.\n`,
      )
    } catch (error) {
      await closeEngine()
      throw error
    }
  })
}

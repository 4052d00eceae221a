// glimpse listen: hears Slack and Discord, without a model. Questions go into the queue.

import { Command } from 'commander'
import { loadConfig } from '../aws/lifecycle.ts'
import { SETTINGS } from '../config.ts'
import { log } from '../observe/log.ts'
import { reportAs } from '../observe/report.ts'
import { startWebhookServer } from '../serve/server.ts'
import { stopOnSignals } from '../serve/signals.ts'
import { openChat, requireQueue } from './chats.ts'
import { parserOf } from './flags.ts'

const HELP = `
Connects to Slack (SLACK_APP_TOKEN) and to Discord's gateway (DISCORD_TOKEN), or takes what they send to /slack/events
(SLACK_SIGNING_SECRET) and /discord/interactions (DISCORD_PUBLIC_KEY) here. It loads no model and needs little memory:
each question goes into the queue, and "glimpse work", or the function "answer", answers it.

Needs    GLIMPSE_QUEUE   a FIFO queue in SQS with dead letters
         GLIMPSE_STATE   s3://bucket/prefix, the same as where questions are answered; a folder on one machine
         the platforms' tokens

Examples:
  $ export GLIMPSE_QUEUE=https://sqs.eu-central-1.amazonaws.com/123456789012/questions.fifo GLIMPSE_STATE=s3://bucket/state
  $ export SLACK_BOT_TOKEN=xoxb-... SLACK_APP_TOKEN=xapp-... DISCORD_TOKEN=...
  $ npx glimpse listen
  $ npx glimpse listen --port 0                         beside "glimpse work" on one machine

It answers /healthz, /readyz and /metrics. SIGTERM stops it: what it heard is in the queue before it ends.
`

export function listenCommand(): Command {
  return new Command('listen')
    .description('hears Slack and Discord and puts questions into the queue, without a model')
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option(
      '--port <number>',
      'port to listen on; 0 takes a free one (default: 8080)',
      parserOf(SETTINGS.port),
    )
    .addHelpText('after', HELP)
    .action(async (options: { host?: string; port?: number }) => {
      const config = await loadConfig()
      requireQueue(config, 'listen')
      const chat = await openChat({ config, receivesEvents: true, report: reportAs('chat_failed') })
      let isStarted = false
      const server = await startWebhookServer({
        host: options.host ?? config.host,
        port: options.port ?? config.port,
        token: config.apiToken,
        handlers: chat.handlers,
        isReady: () => isStarted,
        stopAlso: chat.stop,
      })
      stopOnSignals(server.close)
      try {
        await chat.start()
        isStarted = true
        log.info('listening', { port: server.port })
        const addresses = Object.keys(chat.handlers).map((path) => `  ${server.url}${path}\n`)
        process.stdout.write(
          `Glimpse listens to ${chat.names.join(' and ')}. Questions go into the queue.\n${addresses.join('')}Ctrl-C stops it.\n`,
        )
      } catch (error) {
        await server.close()
        throw error
      }
    })
}

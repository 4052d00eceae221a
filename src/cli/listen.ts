// glimpse listen: receives the platforms' events without a model. Questions go into the queue.

import { Command } from 'commander'
import { type AddressFlags, addAddressFlags } from './flags.ts'

const HELP = `
Connects to Slack (SLACK_APP_TOKEN) and to Discord's gateway (DISCORD_TOKEN), or
receives what they post to /slack/events (SLACK_SIGNING_SECRET) and
/discord/interactions (DISCORD_PUBLIC_KEY). It loads no model and needs little
memory. Each question goes into the queue; "glimpse work" or the function
"answer" answers it.

Needs    GLIMPSE_QUEUE   an SQS FIFO queue with a dead-letter queue
         GLIMPSE_STATE   s3://bucket/prefix, the same as of "glimpse work"; a
                         folder if both run on one machine
         tokens of the platforms

Examples:
  $ export GLIMPSE_QUEUE=https://sqs.eu-central-1.amazonaws.com/1234/ask.fifo
  $ export GLIMPSE_STATE=s3://bucket/state
  $ export SLACK_BOT_TOKEN=xoxb-... SLACK_APP_TOKEN=xapp-... DISCORD_TOKEN=...
  $ npx glimpse listen
  # next to "glimpse work" on one machine
  $ npx glimpse listen --port 0

It answers /healthz, /readyz and /metrics. SIGTERM stops it after all received
questions are in the queue.
`

export function listenCommand(): Command {
  const command = new Command('listen')
    .description('receives Slack and Discord events and puts questions into the queue, without a model')
    .addHelpText('after', HELP)
  return addAddressFlags(command).action(async (flags: AddressFlags) => {
    // Imported on use, so that --help is quick.
    const [{ loadConfig }, { openChat }, { log }, { startWebhookServer }, { stopOnSignals }, serving] =
      await Promise.all([
        import('../app/config.ts'),
        import('../app/chat.ts'),
        import('../observe/log.ts'),
        import('../serve/server.ts'),
        import('./signals.ts'),
        import('./serving.ts'),
      ])
    const { addressOf, report, requireQueue } = serving
    const config = await loadConfig()
    requireQueue(config, 'listen')
    const chat = await openChat({ config, receives: true, report })
    let isStarted = false
    const server = await startWebhookServer({
      ...addressOf(flags, config),
      token: config.apiToken,
      handlers: chat.handlers,
      isReady: () => isStarted,
      chatFault: chat.fault,
      stopAlso: chat.stop,
    })
    stopOnSignals(server.close)
    try {
      await chat.start()
      isStarted = true
      log.info('listening', { port: server.port })
      const addresses = Object.keys(chat.handlers).map((path) => `  ${server.url}${path}\n`)
      process.stdout.write(
        `Glimpse listens to ${chat.names.join(' and ')}. Questions go into the queue.\n${addresses.join('')}${chat
          .hints()
          .map((hint) => `${hint}\n`)
          .join('')}Ctrl-C stops it.\n`,
      )
    } catch (error) {
      await server.close()
      throw error
    }
  })
}

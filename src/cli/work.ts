// glimpse work: this machine's model answers the questions in the queue. No platform needs to reach this machine.

import { Command } from 'commander'
import { type AddressFlags, addAddressFlags, addModelFlags, type ModelFlags } from './flags.ts'

const HELP = `
Receives questions from the queue, answers them with the model on this machine
and posts the replies. It calls SQS, the store, Slack and Discord, and none of
them calls it: a machine with a GPU behind a firewall works. Any number of
workers may share one queue.

Needs    GLIMPSE_QUEUE   the FIFO queue in SQS that "glimpse listen" or the
                         functions "slack" and "discord" fill
         GLIMPSE_STATE   s3://bucket/prefix, the same as of "glimpse listen"; a
                         folder if both run on one machine
         SLACK_BOT_TOKEN, DISCORD_TOKEN   to fetch pictures and to reply

Examples:
  $ export GLIMPSE_QUEUE=https://sqs.eu-central-1.amazonaws.com/1234/ask.fifo
  $ export GLIMPSE_STATE=s3://bucket/state
  $ export SLACK_BOT_TOKEN=xoxb-... DISCORD_TOKEN=...
  $ npx glimpse work --model ./blip2-int4
  $ GLIMPSE_PROVIDER=cuda npx glimpse work --model s3://bucket/models/blip2

It also serves HTTP on 127.0.0.1 as "glimpse serve" does: /healthz, /readyz,
/metrics, /v1. SIGTERM stops it within 8 s; questions that are not answered by
then return to the queue.
`

export function workCommand(): Command {
  const command = new Command('work')
    .description('answers the questions in the queue with the model on this machine')
    .addHelpText('after', HELP)
  addModelFlags(addAddressFlags(command))
  return command.action(async (flags: ModelFlags & AddressFlags) => {
    // Imported on use, so that --help is quick.
    const [{ loadConfig }, { log }, { requireQueue, startServing }] = await Promise.all([
      import('../app/config.ts'),
      import('../observe/log.ts'),
      import('./serving.ts'),
    ])
    const config = await loadConfig()
    requireQueue(config, 'work')
    const { server, model, platforms } = await startServing(flags, config, false)
    log.info('working', { model: model.name, port: server.port })
    process.stdout.write(
      `Glimpse works on the queue with ${model.name}, for ${platforms.join(' and ')}.\nCtrl-C stops it.\n`,
    )
  })
}

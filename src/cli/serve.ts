// glimpse serve: the local page, the HTTP endpoint and the chats, until it is stopped.

import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Argument, Command } from 'commander'
import { SETTINGS } from '../config.ts'
import { curlField, shellWord } from '../shell.ts'
import { type AddressFlags, addAddressFlags, addModelFlags, type ModelFlags } from './flags.ts'

const SAMPLE = fileURLToPath(new URL('../../models/demo/crab-and-helicopter.png', import.meta.url))

const HELP = `
Examples:
  $ npx glimpse serve
  $ npx glimpse serve --port 0                          on any free port
  $ npx glimpse serve --model ./blip2-int4
  # reachable from other machines
  $ npx glimpse serve --host 0.0.0.0

With tokens of Slack or Discord set, it also answers in these chats. With
GLIMPSE_QUEUE set, questions from chats pass through that queue, and this
process answers them. To receive and to answer on two machines: glimpse listen,
glimpse work.
`

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('starts a local page and an HTTP endpoint')
    // SageMaker starts every image with the argument `serve`, whatever its entry point is.
    .addArgument(new Argument('[serve]').choices(['serve']))
    .usage('[options]')
    .addHelpText('after', HELP)
  addModelFlags(addAddressFlags(command))
  return command.action(async (_: string | undefined, flags: ModelFlags & AddressFlags) => {
    // Imported on use, so that --help is quick.
    const [{ loadConfig }, { log }, { startServing }] = await Promise.all([
      import('../app/config.ts'),
      import('../observe/log.ts'),
      import('./serving.ts'),
    ])
    const config = await loadConfig()
    const { server, model, platforms, hints } = await startServing(flags, config, true)
    log.info('ready', { model: model.name, port: server.port })
    const folder = flags.model ?? config.model
    const sample = relative(process.cwd(), SAMPLE)
    // Each printed command works when pasted into a shell that has the token in its environment.
    const token = config.apiToken === '' ? '' : `-H "authorization: Bearer $${SETTINGS.apiToken.env}" `
    process.stdout.write(`
Glimpse is ready with ${model.name}.

  Page           ${server.url}/
  HTTP           curl ${token}-F ${curlField('image', sample)} ${server.url}/v1/caption
  Command line   npx glimpse ask${folder === '' ? '' : ` --model ${shellWord(folder)}`} ${shellWord(sample)} "what is on the left?"${platforms.map((name) => `\n  ${name.padEnd(14)} listening`).join('')}
${hints.map((hint) => `\n${hint}\n`).join('')}
Ctrl-C stops it.
`)
  })
}

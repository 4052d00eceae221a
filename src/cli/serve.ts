// glimpse serve: the local page and the HTTP endpoint, until it is stopped.

import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { readConfig, SETTINGS } from '../config.ts'
import { startEngine } from '../job/engine.ts'
import { startServer } from '../serve/server.ts'
import { addModelFlags, type ModelFlags, modelFor, parserOf } from './flags.ts'

const SAMPLE = fileURLToPath(new URL('../../models/demo/crab-and-helicopter.png', import.meta.url))

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
    const engine = modelFor(options).then(startEngine)
    try {
      const server = await startServer(engine, {
        host: options.host ?? config.host,
        port: options.port ?? config.port,
        hosts: config.allowedHosts
          .split(',')
          .map((name) => name.trim())
          .filter((name) => name !== ''),
        maxQueue: config.maxQueue,
        deadlineMs: config.deadlineMs,
      })
      const stop = () => void server.close().then(() => process.exit())
      process.once('SIGINT', stop)
      process.once('SIGTERM', stop)
      const { model } = await engine.catch(async (error: unknown) => {
        await server.close()
        throw error
      })
      process.stdout.write(welcome(server.url, model.name, options.model ?? config.model))
    } catch (error) {
      const open = await engine.catch(() => undefined)
      await open?.close()
      throw error
    }
  })
}

/** Each line works as it stands, in another shell too. */
function welcome(url: string, model: string, folder: string): string {
  const sample = relative(process.cwd(), SAMPLE)
  return `
Glimpse is ready with ${model}.

  Page           ${url}/
  HTTP           curl -F image=@${sample} ${url}/v1/caption
  Command line   npx glimpse ask${folder === '' ? '' : ` --model ${folder}`} ${sample} "what is on the left?"

Ctrl-C stops it.
`
}

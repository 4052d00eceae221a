#!/usr/bin/env node
// `glimpse <command>`: reads the command line and starts one command.

import { Command } from 'commander'
import { SETTINGS } from '../config.ts'
import { ArtifactError, isGlimpseError, SetupError } from '../errors.ts'
import { GLIMPSE_VERSION } from '../versions.ts'

/** A command's file is imported when the command is named: importing all takes twice as long as importing one. */
const COMMANDS: Record<string, () => Promise<Command>> = {
  caption: async () => (await import('./caption.ts')).captionCommand(),
  ask: async () => (await import('./ask.ts')).askCommand(),
  index: async () => (await import('./index-folders.ts')).indexCommand(),
  search: async () => (await import('./search.ts')).searchCommand(),
  duplicates: async () => (await import('./duplicates.ts')).duplicatesCommand(),
  match: async () => (await import('./match.ts')).matchCommand(),
  classify: async () => (await import('./classify.ts')).classifyCommand(),
  embed: async () => (await import('./embed.ts')).embedCommand(),
  pull: async () => (await import('./pull.ts')).pullCommand(),
  models: async () => (await import('./models.ts')).modelsCommand(),
  build: async () => (await import('./build.ts')).buildCommand(),
  push: async () => (await import('./push.ts')).pushCommand(),
  serve: async () => (await import('./serve.ts')).serveCommand(),
  listen: async () => (await import('./listen.ts')).listenCommand(),
  work: async () => (await import('./work.ts')).workCommand(),
  manifest: async () => (await import('./manifest.ts')).manifestCommand(),
  evaluate: async () => (await import('./evaluate.ts')).evaluateCommand(),
  verify: async () => (await import('./verify.ts')).verifyCommand(),
  bench: async () => (await import('./bench.ts')).benchCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
}

const EXAMPLES = `
Examples:
  $ npx glimpse caption photo.jpg                       says what is in the picture
  $ npx glimpse ask photo.jpg "what color is the car?"  answers a question about it
  $ npx glimpse serve                                   starts a local page and an HTTP endpoint
  $ npx glimpse build ./blip2-opt-2.7b --out ./blip2-int4 --precision int4
  $ npx glimpse caption --model ./blip2-int4 --json photo.jpg
  $ npx glimpse push ./blip2-int4 s3://my-models/blip2-int4/1

Environment:
${Object.values(SETTINGS)
  .map(({ env, description, defaultText }) => `  ${env.padEnd(32)} ${description} [${defaultText}]`)
  .join('\n')}
`

async function main(): Promise<void> {
  // `glimpse caption *.png | head -1` closes standard output early. The process then ends without an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit()
    throw error
  })
  const program = new Command('glimpse')
    .description('Captions pictures and answers questions about them with BLIP-2, on this machine.')
    .version(GLIMPSE_VERSION)
    .addHelpText('after', EXAMPLES)
  const [, , name = ''] = process.argv
  for (const load of Object.hasOwn(COMMANDS, name) ? [COMMANDS[name]!] : Object.values(COMMANDS)) {
    const command = await load()
    program.addCommand(command.showHelpAfterError(`See: npx glimpse ${command.name()} --help`))
  }
  await program.parseAsync()
}

main().catch((error: unknown) => {
  process.stderr.write(`glimpse: ${wordsFor(error)}\n`)
  process.exitCode = 1
})

/** The message of a Glimpse error, with its cause if the operator can act on it; for a bug the stack and the cause. */
function wordsFor(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const isBug = !isGlimpseError(error)
  const showsCause = isBug || error instanceof SetupError || error instanceof ArtifactError
  const why = showsCause && error.cause instanceof Error ? error.cause.message : ''
  const text = isBug ? `${error.stack}` : error.message
  return error.message.includes(why) ? text : `${text}\n  because: ${why}`
}

#!/usr/bin/env node
// `glimpse <command>`: reads the command line and starts one command.

import { existsSync } from 'node:fs'
import { styleText } from 'node:util'
import { Command, type Help } from 'commander'
import { SETTINGS } from '../config.ts'
import { ArtifactError, isGlimpseError, RequestError, SetupError } from '../errors.ts'
import { shellWord } from '../shell.ts'
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
  'deploy-check': async () => (await import('./deploy-check.ts')).deployCheckCommand(),
}

const EXAMPLES = `
Examples:
  # what is in the picture
  $ npx glimpse caption photo.jpg
  $ npx glimpse ask photo.jpg "what color is the car?"
  # a local page and an HTTP endpoint
  $ npx glimpse serve
  # a model for photographs: downloaded and built once, then kept
  $ npx glimpse caption --model Salesforce/blip2-opt-2.7b photo.jpg
`

/** Columns of the help, also on a wider terminal. */
const HELP_COLUMNS = 80

async function main(): Promise<void> {
  // `glimpse caption *.png | head -1` closes standard output early. The process then ends without an error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit()
    throw error
  })
  const columns = (stream: NodeJS.WriteStream) => Math.min(stream.columns ?? HELP_COLUMNS, HELP_COLUMNS)
  const program = new Command('glimpse')
    .description('Captions pictures and answers questions about them with BLIP-2, on this machine.')
    .version(GLIMPSE_VERSION)
    .configureOutput({
      getOutHelpWidth: () => columns(process.stdout),
      getErrHelpWidth: () => columns(process.stderr),
    })
    // commander removes the colours again where the terminal has none, or NO_COLOR is set.
    .configureHelp({
      styleTitle: (title) => styleText('bold', title, { validateStream: false }),
      subcommandTerm: (command) => command.name(),
    })
    .addHelpText('after', EXAMPLES)
    .addHelpText('after', ({ command }) => `Environment:\n${settingsText(command.createHelp())}\n`)
  const [, , name = ''] = process.argv
  const isVersion = ['-V', '--version'].includes(name)
  if (existsSync(name) && !Object.hasOwn(COMMANDS, name)) throw noCommand(name)
  for (const load of Object.hasOwn(COMMANDS, name) ? [COMMANDS[name]!] : Object.values(COMMANDS)) {
    if (isVersion) break
    const command = (await load())
      .configureHelp(program.configureHelp())
      .configureOutput(program.configureOutput())
    program.addCommand(command.showHelpAfterError(`See: npx glimpse ${command.name()} --help`))
  }
  await program.parseAsync()
}

main().catch((error: unknown) => {
  const prefix = styleText('red', 'glimpse:', { stream: process.stderr })
  process.stderr.write(`${prefix} ${wordsFor(error)}\n`)
  process.exitCode = 1
})

/** Each setting, its meaning below it. */
function settingsText(help: Help): string {
  return Object.values(SETTINGS)
    .map(({ env, description, defaultText }) => {
      const meaning = help.boxWrap(`${description} [${defaultText}]`, HELP_COLUMNS - 6)
      return [env, ...meaning.split('\n').map((line) => `    ${line}`)].map((line) => `  ${line}`).join('\n')
    })
    .join('\n')
}

/** For a file in place of a command. */
function noCommand(path: string): RequestError {
  const message = `Expected a command but got the file ${path}. Name one first: npx glimpse caption ${shellWord(path)}`
  return new RequestError('bad_ask', message)
}

/** The message of a Glimpse error, with its cause if the operator can act on it; for a bug the stack and the cause. */
function wordsFor(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const isBug = !isGlimpseError(error)
  const showsCause = isBug || error instanceof SetupError || error instanceof ArtifactError
  const why = showsCause && error.cause instanceof Error ? error.cause.message : ''
  const text = isBug ? `${error.stack}` : error.message
  return error.message.includes(why) ? text : `${text}\n  because: ${why}`
}

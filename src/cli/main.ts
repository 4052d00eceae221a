#!/usr/bin/env node
// `glimpse <command>`: reads the command line and starts one command.

import { Command } from 'commander'
import { SETTINGS } from '../config.ts'
import { ArtifactError, isKnown, SetupError } from '../errors.ts'
import { GLIMPSE_VERSION } from '../versions.ts'
import { askCommand } from './ask.ts'
import { benchCommand } from './bench.ts'
import { buildCommand } from './build.ts'
import { captionCommand } from './caption.ts'
import { doctorCommand } from './doctor.ts'
import { evaluateCommand } from './evaluate.ts'
import { listenCommand } from './listen.ts'
import { manifestCommand } from './manifest.ts'
import { pullCommand } from './pull.ts'
import { pushCommand } from './push.ts'
import { serveCommand } from './serve.ts'
import { verifyCommand } from './verify.ts'
import { workCommand } from './work.ts'

const EXAMPLES = `
Examples:
  $ npx glimpse caption photo.jpg                       what is in the picture
  $ npx glimpse ask photo.jpg "what color is the car?"  an answer about it
  $ npx glimpse serve                                   a local page and an HTTP endpoint
  $ npx glimpse build ./blip2-opt-2.7b --out ./blip2-int4 --precision int4
  $ npx glimpse caption --model ./blip2-int4 --json photo.jpg
  $ npx glimpse push ./blip2-int4 s3://my-models/blip2-int4/1

Environment:
${Object.values(SETTINGS)
  .map(({ env, what, shown }) => `  ${env.padEnd(32)} ${what} [${shown}]`)
  .join('\n')}
`

async function main(): Promise<void> {
  // `glimpse caption *.png | head -1` closes our output early: nobody is left to write for.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit()
    throw error
  })
  const program = new Command('glimpse')
    .description('Captions pictures and answers questions about them with BLIP-2, on this machine.')
    .version(GLIMPSE_VERSION)
    .addHelpText('after', EXAMPLES)
  for (const command of [
    captionCommand(),
    askCommand(),
    pullCommand(),
    buildCommand(),
    pushCommand(),
    serveCommand(),
    listenCommand(),
    workCommand(),
    manifestCommand(),
    evaluateCommand(),
    verifyCommand(),
    benchCommand(),
    doctorCommand(),
  ]) {
    program.addCommand(command.showHelpAfterError(`See: npx glimpse ${command.name()} --help`))
  }
  await program.parseAsync()
}

main().catch((error: unknown) => {
  process.stderr.write(`glimpse: ${wordsFor(error)}\n`)
  process.exitCode = 1
})

/** A known error's message, with what lay behind it where that helps the operator; of a bug all there is. */
function wordsFor(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const why = error.cause instanceof Error ? error.cause.message : undefined
  if (error instanceof SetupError || error instanceof ArtifactError) {
    return why === undefined || error.message.includes(why)
      ? error.message
      : `${error.message}\n  because: ${why}`
  }
  return isKnown(error) ? error.message : `${error.stack}${why === undefined ? '' : `\n  because: ${why}`}`
}

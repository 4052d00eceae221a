// glimpse doctor: what is missing for Glimpse to run here as it is set up.

import { Command } from 'commander'
import { ENVIRONMENT } from '../config.ts'
import type { Result } from '../doctor/check.ts'
import { wholeNumber } from './flags.ts'

const LONGEST_TIMEOUT_S = 3_600
const LABEL_WIDTH = 14

const HELP = `
It looks at the settings, Node, the processor, memory and disk; whether onnxruntime loads and what GLIMPSE_PROVIDER asks
for can be had; the model's files; the places that are written to; the port; and, as far as they are set up, Slack,
Discord, the queue, the secrets and a model that runs elsewhere. It asks nobody that is not set up, changes nothing, and
prints no token.

Each line says ok, warn (it works, but), fail (it will not) or skipped with the reason; below warn and fail stands what to
do. Exits with 1 when anything fails.

Examples:
  $ npx glimpse doctor
  $ npx glimpse doctor --deep                           reads the whole model and compares its checksums
  $ GLIMPSE_PROVIDER=cuda npx glimpse doctor            would the GPU be used?
  $ docker run --rm --env-file glimpse.env glimpse doctor --json
`

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('checks what it takes to run here as set up, and says what is missing')
    .option('--deep', 'also compare the checksums of the model', false)
    .option(
      '--timeout <seconds>',
      'for each check (default: 10, with --deep 600)',
      wholeNumber(1, LONGEST_TIMEOUT_S),
    )
    .option('--json', 'one line of JSON', false)
    .addHelpText('after', HELP)
    .action(async ({ deep, timeout, json }: { deep: boolean; timeout?: number; json: boolean }) => {
      const { examine } = await import('../doctor/examine.ts')
      const results = await examine(ENVIRONMENT, { deep, timeoutMs: timeout && timeout * 1000 })
      const holds = results.every(({ status }) => status !== 'fail')
      if (json) process.stdout.write(`${JSON.stringify({ ok: holds, checks: results })}\n`)
      else process.stdout.write(`${results.map(lineOf).join('')}\n${summaryOf(results)}\n`)
      // Not the exit code alone: a check that was given up may still hold the process.
      process.exit(holds ? 0 : 1)
    })
}

function lineOf({ status, name, found, todo }: Result): string {
  const more = todo === undefined ? '' : `${' '.repeat(9 + LABEL_WIDTH)}-> ${todo}\n`
  return `${status.padEnd(9)}${name.padEnd(LABEL_WIDTH)}${found}\n${more}`
}

function summaryOf(results: readonly Result[]): string {
  const number = (status: Result['status']) => results.filter((result) => result.status === status).length
  if (number('fail') > 0) return `${number('fail')} of ${results.length} checks failed.`
  return number('warn') > 0 ? `It works; ${number('warn')} to think about.` : 'All is well.'
}

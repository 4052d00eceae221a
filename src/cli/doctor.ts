// glimpse doctor: checks whether Glimpse can run on this machine with these settings.

import { styleText } from 'node:util'
import { Command } from 'commander'
import { ENVIRONMENT } from '../config.ts'
import type { Result } from '../doctor/check.ts'

const STATUS_WIDTH = 9
const NAME_WIDTH = 14

const HELP = `
Checks the settings, Node, the processor, memory and disk; that onnxruntime
loads and GLIMPSE_PROVIDER is available; the model's files; the folders and
buckets that Glimpse writes to; the port; and, if they are set up, Slack,
Discord, the queue, the secrets and a remote engine. It calls only services that
are set up, changes nothing and prints no token.

Each line is ok, warn (it works, with a drawback), fail (it will not work) or
skipped (with the reason). The line after a warn or fail says what to do. The
exit code is 1 if a check fails.

Examples:
  $ npx glimpse doctor
  ok       settings      2 set, all valid
  warn     processor     x64, 2 cores, AVX2 without VNNI
                         -> It works. int8 and int4 models answer faster ...
  ...
  Passed with 1 warning.
  # also reads the whole model and compares its checksums
  $ npx glimpse doctor --deep
  $ GLIMPSE_PROVIDER=cuda npx glimpse doctor            is the GPU available?
  $ docker run --rm --env-file glimpse.env glimpse doctor --json
`

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('checks whether Glimpse can run with these settings')
    .option('--deep', "also compare the checksums of the model's files", false)
    .option('--json', 'one line of JSON', false)
    .addHelpText('after', HELP)
    .action(async ({ deep, json }: { deep: boolean; json: boolean }) => {
      const { examine } = await import('../doctor/examine.ts')
      printResults(await examine(ENVIRONMENT, deep), json)
    })
}

/** Prints the findings, and ends the process: with 1 if a check failed. */
export function printResults(results: readonly Result[], json: boolean): never {
  const ok = results.every(({ status }) => status !== 'fail')
  if (json) process.stdout.write(`${JSON.stringify({ ok, checks: results })}\n`)
  else process.stdout.write(`${results.map(linesOf).join('')}\n${summaryOf(results)}\n`)
  // exitCode alone does not end the process: a check that timed out may keep it alive.
  process.exit(ok ? 0 : 1)
}

const COLOURS = { ok: 'green', warn: 'yellow', fail: 'red', skipped: undefined } as const

function linesOf({ status, name, found, todo }: Result): string {
  const advice = todo === undefined ? '' : `${' '.repeat(STATUS_WIDTH + NAME_WIDTH)}-> ${todo}\n`
  const colour = COLOURS[status]
  const shown = status.padEnd(STATUS_WIDTH)
  const word = colour ? styleText(colour, shown, { stream: process.stdout }) : shown
  return `${word}${name.padEnd(NAME_WIDTH)}${found}\n${advice}`
}

function summaryOf(results: readonly Result[]): string {
  const count = (status: Result['status']) => results.filter((result) => result.status === status).length
  const [failed, warnings] = [count('fail'), count('warn')]
  if (failed > 0) return `${failed} of ${results.length} checks failed.`
  if (warnings === 0) return 'Passed.'
  return `Passed with ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}.`
}

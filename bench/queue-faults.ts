// A thousand runs: duplicates three times over, any order, crashes between the model's answer and the reply, poison.
// test/queue/faults.ts says what a run is; its faults are drawn from its seed.
//
//   npx tsx bench/queue-faults.ts          1,000 runs, some minutes
//   npx tsx bench/queue-faults.ts 100      fewer

import { configureLog } from '../src/observe/log.ts'
import { playAll, type Totals } from '../test/queue/faults.ts'

const runs = Number(process.argv[2] ?? 1_000)
// Thousands of lines about what was made to fail.
configureLog('text', { write: () => {} })

const startedAt = performance.now()
const asked = await playAll(runs)
const blind = await playAll(Math.ceil(runs / 5), { canFind: false })
const seconds = Math.round((performance.now() - startedAt) / 1_000)

const lines: [what: string, target: string, measured: number][] = [
  ['questions without a reply', '0', asked.missing],
  ['replies beyond the first', '0', asked.duplicates],
  ['good messages among the dead letters', '0', asked.othersDead],
  ['poison among the dead letters', String(2 * runs), asked.poisonDead],
]
console.log(`${asked.runs} runs, ${asked.questions} questions, each sent three times; ${seconds} s`)
console.log(faultsOf(asked))
for (const [what, target, measured] of lines) {
  const verdict = String(measured) === target ? 'met' : 'MISSED'
  console.log(
    `  ${what.padEnd(40)} target ${target.padStart(5)}   measured ${String(measured).padStart(5)}   ${verdict}`,
  )
}
console.log(
  `The same where the platform cannot be asked for what it shows (Discord, for the asker's eyes only):`,
)
console.log(faultsOf(blind))
console.log(
  `  ${blind.runs} runs: ${blind.missing} without a reply, ${blind.duplicates} replies beyond the first`,
)
console.log(
  '  Each follows a death, or a lost answer, between the reply and its record: told, not prevented.',
)
// What died still holds its timers.
process.exit(lines.every(([, target, measured]) => String(measured) === target) ? 0 : 1)

function faultsOf(sums: Totals): string {
  return `  ${sums.deaths} deaths (${sums.deathsBeforeReply} after the model and before the reply, ${sums.deathsAfterPost} between reply and record), ${sums.platformFaults} failures of the platform, ${sums.queueFaults} of the queue, ${sums.redeliveries} deliveries beyond the first`
}

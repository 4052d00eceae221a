// Models fetched from an S3 that has bad days: npx tsx bench/model-faults.ts [loads] [seed]
//
// Each request meets a fault with probability 0.2: of one kind, then of any. Targets: every
// load gives the model that was pushed or an error that says who has to act; at most 5 tries more for a piece of a
// file, of which a file with a wrong checksum is fetched 3 times at most; nothing left that looks whole.

import { FAULTS, type FaultName, type FaultRun, fetchOnce, TYPED } from '../test/transfer/fault-injection.ts'

const LOADS = Number(process.argv[2] ?? 300)
const SEED = Number(process.argv[3] ?? 1)
const PROBABILITY = 0.2
const MOST_TRIES = 6 * 3

const all = Object.keys(FAULTS) as FaultName[]
const groups: [string, FaultName[]][] = [
  ...all.map((kind): [string, FaultName[]] => [kind, [kind]]),
  ['any', all],
]
const share = Math.ceil(LOADS / groups.length)
const columns = ['loads', 'right', 'typed', 'wrong', 'untyped', 'looks whole', 'most tries', 'requests']
console.log(`${'fault, p = 0.2'.padEnd(18)}${columns.map((name) => name.padStart(12)).join('')}`)
const days: FaultRun[] = []
for (const [g, [name, kinds]] of groups.entries()) {
  const mine: FaultRun[] = []
  for (let i = 0; i < share; i++)
    mine.push(await fetchOnce(kinds, PROBABILITY, SEED * 1_000_000 + g * 10_000 + i))
  row(name, mine)
  days.push(...mine)
}
row('all', days)
const codes = new Map<string, number>()
for (const { outcome } of days) codes.set(outcome, (codes.get(outcome) ?? 0) + 1)
console.log(`outcomes: ${[...codes].map(([code, number]) => `${code} ${number}`).join(', ')}`)
const holds = days.every(
  ({ outcome, mostTries, looksWhole }) => isExpected(outcome) && mostTries <= MOST_TRIES && !looksWhole,
)
console.log(
  `right or typed ${percent(days.filter(({ outcome }) => isExpected(outcome)).length / days.length)} (target 100 %), ` +
    `most tries ${Math.max(...days.map(({ mostTries }) => mostTries))} (target at most ${MOST_TRIES}): ${holds ? 'holds' : 'DOES NOT HOLD'}`,
)
process.exit(holds ? 0 : 1)

function row(name: string, some: readonly FaultRun[]): void {
  const number = (fits: (day: FaultRun) => boolean) => some.filter(fits).length
  const cells = [
    some.length,
    number(({ outcome }) => outcome === 'right'),
    number(({ outcome }) => TYPED.includes(outcome)),
    number(({ outcome }) => outcome === 'wrong'),
    number(({ outcome }) => !isExpected(outcome) && outcome !== 'wrong'),
    number(({ looksWhole }) => looksWhole),
    Math.max(...some.map(({ mostTries }) => mostTries)),
    some.reduce((sum, { requests }) => sum + requests, 0),
  ]
  console.log(`${name.padEnd(18)}${cells.map((cell) => String(cell).padStart(12)).join('')}`)
}

function isExpected(outcome: string): boolean {
  return outcome === 'right' || TYPED.includes(outcome)
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`
}

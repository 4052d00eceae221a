// model-faults: artifacts downloaded from a failing S3 double. npx tsx bench/model-faults.ts [loads] [seed]
//
// Each request fails with probability 0.2: with one kind of fault a group, then with any. Targets: every load ends with the
// pushed model or a typed error; a range has at most 6 attempts, and a file with a wrong checksum is downloaded at most 3
// times; a failed load leaves nothing that passes for a complete artifact.

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
const allRuns: FaultRun[] = []
for (const [g, [name, kinds]] of groups.entries()) {
  const runs: FaultRun[] = []
  for (let i = 0; i < share; i++)
    runs.push(await fetchOnce(kinds, PROBABILITY, SEED * 1_000_000 + g * 10_000 + i))
  printGroup(name, runs)
  allRuns.push(...runs)
}
printGroup('all', allRuns)
const codes = new Map<string, number>()
for (const { outcome } of allRuns) codes.set(outcome, (codes.get(outcome) ?? 0) + 1)
console.log(`outcomes: ${[...codes].map(([code, number]) => `${code} ${number}`).join(', ')}`)
const isMet = allRuns.every(
  ({ outcome, mostTries, looksWhole }) => isExpected(outcome) && mostTries <= MOST_TRIES && !looksWhole,
)
console.log(
  `right or typed ${percent(allRuns.filter(({ outcome }) => isExpected(outcome)).length / allRuns.length)} (target 100 %), ` +
    `most tries ${Math.max(...allRuns.map(({ mostTries }) => mostTries))} (target at most ${MOST_TRIES}): ${isMet ? 'met' : 'MISSED'}`,
)
process.exit(isMet ? 0 : 1)

function printGroup(name: string, runs: readonly FaultRun[]): void {
  const number = (matches: (run: FaultRun) => boolean) => runs.filter(matches).length
  const cells = [
    runs.length,
    number(({ outcome }) => outcome === 'right'),
    number(({ outcome }) => TYPED.includes(outcome)),
    number(({ outcome }) => outcome === 'wrong'),
    number(({ outcome }) => !isExpected(outcome) && outcome !== 'wrong'),
    number(({ looksWhole }) => looksWhole),
    Math.max(...runs.map(({ mostTries }) => mostTries)),
    runs.reduce((sum, { requests }) => sum + requests, 0),
  ]
  console.log(`${name.padEnd(18)}${cells.map((cell) => String(cell).padStart(12)).join('')}`)
}

function isExpected(outcome: string): boolean {
  return outcome === 'right' || TYPED.includes(outcome)
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`
}

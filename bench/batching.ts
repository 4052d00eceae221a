// batching: time of eight concurrent requests in a batch against the same requests one by one, of a step of 5 beams against
// a step of one row, and of the prefill of a second question against the first about the same picture.
//
//   npx tsx bench/batching.ts [artifact ...]      default: the embedded model
//
// Rounds alternate, so that other work on the machine affects both alike. The CPU time of the model process is printed too,
// because a busy machine changes it less. Captions are of eight pictures; questions are about pictures seen before, as in a
// thread. Exits with 1 if any answer differs.

import { readdir, readFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { embeddedArtifact } from '../src/builder/embedded.ts'
import { readConfig } from '../src/config.ts'
import { type Engine, startEngine } from '../src/engine/engine.ts'
import type { InferenceRequest } from '../src/engine/request.ts'

const TARGET = 1.5
const AT_ONCE = 8
const BEAMS = 5
const BEAMS_TARGET = 1.8
const DEMO = join(import.meta.dirname, '../models/demo')
const { cacheFolder, prepackFromMb } = readConfig()
const artifacts = process.argv.slice(2)
const names = (await readdir(DEMO)).filter((name) => name.endsWith('.png'))
const pictures = await Promise.all(names.map((name) => readFile(join(DEMO, name))))
const each = (create: (image: Buffer, i: number) => InferenceRequest): InferenceRequest[] =>
  Array.from({ length: AT_ONCE }, (_, i) => create(pictures[i % pictures.length]!, i))

const settings = { max_new_tokens: 20, min_new_tokens: 20 }
// Two more bytes at the end change the sha256, so the stage caches miss; the decoded picture is the same.
let made = 0
const fresh = (image: Buffer) => Buffer.concat([image, Buffer.from(Uint16Array.of(made++).buffer)])
const WORK: Record<string, () => InferenceRequest[]> = {
  'captions, 20 tokens': () => each((image) => ({ image: fresh(image), settings })),
  'questions, 20 tokens': () => each((image, i) => ({ image, question: QUESTIONS[i % 4], settings })),
  'questions, 3 tokens': () =>
    each((image, i) => ({ image, question: QUESTIONS[i % 4], settings: { max_new_tokens: 3 } })),
}
const QUESTIONS = ['what is this?', 'what is on the left?', 'how many things are there?', 'is there a dog?']

let isSame = true
for (const artifact of artifacts.length > 0 ? artifacts : [await embeddedArtifact(cacheFolder)]) {
  const start = {
    artifact,
    prepack: { folder: join(cacheFolder, 'prepacked'), fromBytes: prepackFromMb * 1e6 },
    warmUp: true,
  }
  // One process at a time holds the model, because a large one may not fit twice.
  const engine = await startEngine({ ...start, maxBatch: AT_ONCE })
  const rounds = engine.model.precision === 'fp32' ? 15 : 2
  for (const image of pictures) await engine.answer({ image, settings: { max_new_tokens: 1 } })
  for (const [name, requestsOf] of Object.entries(WORK)) {
    const serial: Cost[] = []
    const batched: Cost[] = []
    for (let round = 0; round < rounds; round++) {
      const requests = requestsOf()
      const [cost, texts] = await costOf(engine, () => oneByOne(engine, requests))
      // The same pictures again, as files that are not in the stage caches.
      const again = name.startsWith('captions') ? requestsOf() : requests
      const [togetherCost, together] = await costOf(engine, () =>
        Promise.all(again.map(async (request) => (await engine.answer(request)).token_ids)),
      )
      serial.push(cost)
      batched.push(togetherCost)
      isSame &&= JSON.stringify(texts) === JSON.stringify(together)
    }
    const of = (costs: Cost[], key: keyof Cost) => median(costs.map((cost) => cost[key]))
    const ratio = (key: keyof Cost) => `${(of(serial, key) / of(batched, key)).toFixed(2)}x`
    console.log(
      `${engine.model.name} ${engine.model.precision}, ${name}: one by one ${of(serial, 'ms').toFixed(0)} ms, ` +
        `together ${of(batched, 'ms').toFixed(0)} ms, ${ratio('ms')} (target ${TARGET}x), ` +
        `by CPU time ${ratio('cpuMs')}, answers ${isSame ? 'identical' : 'DIFFER'}, load ${loadavg()[0]!.toFixed(1)}`,
    )
  }
  await compareSteps(engine, rounds)
  await comparePrefills(engine, rounds)
  await engine.close()
}
process.exitCode = isSame ? 0 : 1

/** A step is the difference of answers of 20 and 4 tokens, divided by 16. */
async function compareSteps(engine: Engine, rounds: number): Promise<void> {
  const tokensMs = async (num_beams: number, count: number) => {
    const settings = { num_beams, max_new_tokens: count, min_new_tokens: count }
    return (await engine.answer({ image: pictures[0]!, settings })).timings_ms.tokens
  }
  const steps: Record<number, number[]> = { 1: [], [BEAMS]: [] }
  for (let round = 0; round < rounds; round++) {
    for (const beams of [1, BEAMS])
      steps[beams]!.push(((await tokensMs(beams, 20)) - (await tokensMs(beams, 4))) / 16)
  }
  const [one, beams] = [median(steps[1]!), median(steps[BEAMS]!)]
  console.log(
    `${engine.model.name} ${engine.model.precision}, a step: of one row ${one.toFixed(1)} ms, of ${BEAMS} beams ` +
      `${beams.toFixed(1)} ms, ${(beams / one).toFixed(2)}x (target at most ${BEAMS_TARGET}x), load ${loadavg()[0]!.toFixed(1)}`,
  )
}

/** Each round asks two questions about a picture that is new. The stage tokens is the prefill, as there is one token. */
async function comparePrefills(engine: Engine, rounds: number): Promise<void> {
  const tokensMs = async (image: Buffer, question: string | undefined) =>
    (await engine.answer({ image, question, settings: { max_new_tokens: 1 } })).timings_ms.tokens
  const [first, second]: [number[], number[]] = [[], []]
  for (let round = 0; round < rounds; round++) {
    const image = fresh(pictures[round % pictures.length]!)
    first.push(await tokensMs(image, QUESTIONS[0]))
    second.push(await tokensMs(image, QUESTIONS[1]))
  }
  console.log(
    `${engine.model.name} ${engine.model.precision}, prefill: first question ${median(first).toFixed(0)} ms, second ` +
      `${median(second).toFixed(0)} ms, ${(median(first) / median(second)).toFixed(2)}x, load ${loadavg()[0]!.toFixed(1)}`,
  )
}

async function oneByOne(engine: Engine, requests: readonly InferenceRequest[]): Promise<number[][]> {
  const answers: number[][] = []
  for (const request of requests) answers.push((await engine.answer(request)).token_ids)
  return answers
}

interface Cost {
  ms: number
  /** CPU time of the model process. */
  cpuMs: number
}

async function costOf<T>(engine: Engine, work: () => Promise<T>): Promise<[Cost, T]> {
  const [began, used] = [performance.now(), await processorMs(engine.pid!)]
  const result = await work()
  return [{ ms: performance.now() - began, cpuMs: (await processorMs(engine.pid!)) - used }, result]
}

/** Returns utime plus stime of a process; proc(5) counts them in ticks of 10 ms. */
async function processorMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const [user, system] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number)
  return 10 * (user! + system!)
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
}

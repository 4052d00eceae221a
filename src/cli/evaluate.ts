// glimpse evaluate <folders...>: how often captions and answers about generated scenes are exactly right.

import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SingleBar } from 'cli-progress'
import { Command } from 'commander'
import { z } from 'zod'
import { type Engine, startEngine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import type { Turn } from '../tokens/prompt.ts'
import { addModelFlags, type ModelFlags, modelFor, wholeNumber } from './flags.ts'
import { readPicture } from './reply.ts'

const EMBEDDED_SETS = ['seen', 'validation', 'test', 'scattered'].map((name) =>
  fileURLToPath(new URL(`../../models/evaluation/${name}`, import.meta.url)),
)

const HELP = `
A folder holds pictures and scenes.jsonl: one line for each picture, with its
true caption and questions, as training/scenes.py writes them. Without folders
it measures the sets that come with the embedded model:

  seen        new scenes in the drawing styles that the model was trained on
  validation  a style that the model never saw, used to choose settings
  test        a style that the model never saw, used for nothing else
  scattered   the trained styles, things of one kind at random positions

Examples:
  $ npx glimpse evaluate
  ...
  test: 75 pictures
    captions exactly right         47 of 66   71.2%
    questions right              249 of 264   94.3%
      of new wordings              46 of 48   95.8%
  $ npx glimpse evaluate ./my-scenes --model ./my-artifact --json
  # conversations of ten questions
  $ npx glimpse evaluate --turns 9
`

const scene = z.object({
  file: z.string(),
  caption: z.string(),
  out_of_domain: z.boolean(),
  questions: z.array(
    z.object({ kind: z.string(), question: z.string(), answer: z.string(), heldOutWording: z.boolean() }),
  ),
})

type Scene = z.infer<typeof scene>

interface Tally {
  right: number
  asked: number
}

/** What is counted beside the kinds of questions, and its name in the table. */
const COUNTED = {
  captions: 'captions exactly right',
  questions: 'questions right',
  /** Questions whose wording the model was not trained on. */
  newWordings: '  of new wordings',
  /** Pictures of unknown things: captions and answers that say so. */
  saidUnknown: 'unknown, and said so',
  /** Pictures of known things: captions that say unknown. */
  falselyUnknown: 'known, but said unknown',
}

interface Report extends Record<keyof typeof COUNTED, Tally> {
  set: string
  pictures: number
  /** By kind of question; `majority`: how often the kind's most frequent answer is right. */
  kinds: Record<string, Tally & { majority: number }>
  /** By the number of turns before a question, from 0 to --turns. Empty without --turns. */
  afterTurns: Tally[]
}

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('measures captions and answers on scenes with known answers')
    .argument('[folders...]', 'sets of scenes')
    .option(
      '--turns <count>',
      'also ask each question after 0 to this many others about its picture',
      wholeNumber(0, 50),
      0,
    )
    .option('--json', 'one line of JSON for each set', false)
    .addHelpText('after', HELP)
  addModelFlags(command)
  return command.action(async (folders: string[], options: ModelFlags & { json: boolean; turns: number }) => {
    const engine = await startEngine(await modelFor(options))
    try {
      for (const folder of folders.length > 0 ? folders : EMBEDDED_SETS) {
        const report = await evaluate(engine, folder, options.turns)
        process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : `${table(report)}\n`)
      }
    } finally {
      await engine.close()
    }
  })
}

async function evaluate(engine: Engine, folder: string, turns: number): Promise<Report> {
  const scenes = await readScenes(folder)
  const report: Report = {
    set: basename(folder),
    pictures: scenes.length,
    captions: { right: 0, asked: 0 },
    questions: { right: 0, asked: 0 },
    newWordings: { right: 0, asked: 0 },
    saidUnknown: { right: 0, asked: 0 },
    falselyUnknown: { right: 0, asked: 0 },
    kinds: {},
    afterTurns: turns > 0 ? Array.from({ length: turns + 1 }, () => ({ right: 0, asked: 0 })) : [],
  }
  const count = (tally: Tally, isRight: boolean) => {
    tally.asked++
    if (isRight) tally.right++
  }
  const unknownCaption = scenes.find(({ out_of_domain }) => out_of_domain)?.caption
  const bar = new SingleBar({
    format: `${report.set} {bar} {value} of {total} pictures | {eta_formatted} left`,
    stream: process.stderr,
  })
  bar.start(scenes.length, 0)
  try {
    for (const { file, caption, out_of_domain, questions } of scenes) {
      const image = await readPicture(join(folder, file))
      const { text } = await engine.answer({ image })
      count(out_of_domain ? report.saidUnknown : report.captions, text === caption)
      if (!out_of_domain) count(report.falselyUnknown, text === unknownCaption)
      for (const { kind, question, answer, heldOutWording } of questions) {
        const isRight = (await engine.answer({ image, question })).text === answer
        count(out_of_domain ? report.saidUnknown : report.questions, isRight)
        if (out_of_domain) continue
        if (heldOutWording) count(report.newWordings, isRight)
        report.kinds[kind] ??= { right: 0, asked: 0, majority: majorityOf(scenes, kind) }
        count(report.kinds[kind], isRight)
      }
      if (!out_of_domain && questions.length > 0) {
        for (const [before, isRight] of await converse(engine, image, questions, turns)) {
          count(report.afterTurns[before]!, isRight)
        }
      }
      bar.increment()
    }
  } finally {
    bar.stop()
  }
  return report
}

/**
 * Asks each question after 0, 1, ... `turns` others, which are the questions before it, from the last again after the
 * first. Returns the number of turns and whether the answer was right.
 */
async function converse(
  engine: Engine,
  image: Uint8Array,
  questions: Scene['questions'],
  turns: number,
): Promise<[number, boolean][]> {
  if (turns === 0) return []
  const results: [number, boolean][] = []
  for (const first of questions.keys()) {
    const history: Turn[] = []
    for (let before = 0; before <= turns; before++) {
      const { question, answer } = questions[(first + before) % questions.length]!
      const { text } = await engine.answer({ image, question, history })
      results.push([before, text === answer])
      history.push({ question, answer: text })
    }
  }
  return results
}

/** How many questions of the kind have its most frequent answer. */
function majorityOf(scenes: readonly Scene[], kind: string): number {
  const known = scenes.filter(({ out_of_domain }) => !out_of_domain).flatMap(({ questions }) => questions)
  const times = new Map<string, number>()
  for (const { answer } of known.filter((question) => question.kind === kind))
    times.set(answer, (times.get(answer) ?? 0) + 1)
  return Math.max(...times.values())
}

async function readScenes(folder: string): Promise<Scene[]> {
  const path = join(folder, 'scenes.jsonl')
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new SetupError('no_scenes', `Cannot read ${path}. Make a set with training/scenes.py.`, { cause })
  })
  try {
    const lines = text.trim().split('\n')
    return lines.map((line) => scene.parse(JSON.parse(line)))
  } catch (cause) {
    const message = `${path} is not in the format that training/scenes.py writes. Make the set again.`
    throw new SetupError('bad_scenes', message, { cause })
  }
}

function table({ set, pictures, kinds, afterTurns, ...counted }: Report): string {
  const percent = (part: number, whole: number) =>
    whole === 0 ? '      ' : `${((100 * part) / whole).toFixed(1).padStart(5)}%`
  const row = (name: string, { right, asked }: Tally, more = '') =>
    `  ${name.padEnd(26)} ${`${right} of ${asked}`.padStart(12)}  ${percent(right, asked)}${more}`
  const rows = (...names: (keyof typeof COUNTED)[]) => names.map((name) => row(COUNTED[name], counted[name]))
  return [
    `${set}: ${pictures} pictures`,
    ...rows('captions', 'questions', 'newWordings'),
    ...Object.entries(kinds)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([kind, tally]) =>
        row(`  ${kind}`, tally, `   most frequent answer ${percent(tally.majority, tally.asked)}`),
      ),
    ...rows('saidUnknown', 'falselyUnknown'),
    ...afterTurns.map((tally, before) => row(`questions after ${before} turns`, tally)),
    '',
  ].join('\n')
}

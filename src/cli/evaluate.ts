// glimpse evaluate <sets...>: how often captions and answers are right, about generated scenes or a user's own pictures.

import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SingleBar } from 'cli-progress'
import { Command, InvalidArgumentError } from 'commander'
import { z } from 'zod'
import { readConfig } from '../config.ts'
import { type Engine, startEngine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { PRECISIONS, type Precision } from '../quantize/recipes.ts'
import type { Turn } from '../tokens/prompt.ts'
import { repeated } from './collection.ts'
import { addModelFlags, type ModelFlags, modelFor, wholeNumber } from './flags.ts'
import { askAll, readOwnSet, reportOf, tableOf } from './own-set.ts'
import { readPicture } from './reply.ts'

const EMBEDDED_SETS = ['seen', 'validation', 'test', 'scattered'].map((name) =>
  fileURLToPath(new URL(`../../models/evaluation/${name}`, import.meta.url)),
)

const HELP = `
A set is a file of your own, .csv or .jsonl: a row for each picture and its true
caption, or for each question and its answer. Pictures are beside the file.

  image,caption,question,answer
  beach.jpg,a woman and a dog on a beach,,
  beach.jpg,,what animal is it?,dog|a dog

Texts are right when they are equal without case, punctuation and articles. With
--precisions the model is built at each of them, and their columns are compared.

A set may also be a folder with pictures and scenes.jsonl, as training/scenes.py
writes it. Without sets it measures those of the embedded model:

  seen        new scenes in the drawing styles that the model was trained on
  validation  a style that the model never saw, used to choose settings
  test        a style that the model never saw, used for nothing else
  scattered   the trained styles, things of one kind at random positions

Examples:
  $ npx glimpse evaluate mine.csv --model ./blip2-int4
  $ npx glimpse evaluate mine.csv --model ./opt-2.7b --precisions int8,int4
  $ npx glimpse evaluate mine.csv --model ./blip2-int8 --against ./blip2-int4
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

interface Flags extends ModelFlags {
  json: boolean
  turns: number
  precisions?: Precision[]
  against?: string[]
}

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('measures captions and answers where the right ones are known')
    .argument('[sets...]', 'files of your own, or folders of scenes')
    .option('--precisions <list>', 'compare these, as in fp32,int8,int4', precisionsOf)
    .option('--against <model>', 'compare with this model too; may be given several times', repeated)
    .option(
      '--turns <count>',
      'scenes: also ask each question after 0 to this many others about its picture',
      wholeNumber(0, 50),
      0,
    )
    .option('--json', 'one line of JSON for each set and model', false)
    .addHelpText('after', HELP)
  addModelFlags(command)
  return command.action(async (sets: string[], options: Flags) => {
    const paths = sets.length > 0 ? sets : EMBEDDED_SETS
    const own = await Promise.all(
      paths
        .filter(isFile)
        .map(async (path) => ({ path, rows: await readOwnSet(path), said: [] as Answers[] })),
    )
    const names: string[] = []
    const areSeveral = options.precisions !== undefined || options.against !== undefined
    await forEachModel(options, async (engine, name) => {
      names.push(name)
      for (const folder of paths.filter((path) => !isFile(path))) {
        const report = await evaluate(engine, folder, options.turns)
        process.stdout.write(
          options.json
            ? `${JSON.stringify({ model: name, ...report })}\n`
            : `${areSeveral ? `${name}, ` : ''}${table(report)}\n`,
        )
      }
      for (const { path, rows, said } of own) {
        const bar = barOf(`${basename(path)}, ${name}`, rows.length)
        try {
          said.push(await askAll(engine, rows, () => bar.increment()))
        } finally {
          bar.stop()
        }
      }
    })
    for (const { path, rows, said } of own) {
      const reports = said.map((one, i) => reportOf(basename(path), names[i]!, rows, one, said[0]!))
      if (options.json) for (const report of reports) process.stdout.write(`${JSON.stringify(report)}\n`)
      else process.stdout.write(`${tableOf(reports)}\n`)
    }
  })
}

type Answers = Awaited<ReturnType<typeof askAll>>

/** Starts the models one after another, so that only one is in memory. */
async function forEachModel(
  { precisions, against = [], ...flags }: Flags,
  work: (engine: Engine, name: string) => Promise<void>,
): Promise<void> {
  const run = async (model: ModelFlags, name?: string) => {
    const engine = await startEngine(await modelFor(model))
    try {
      await work(engine, name ?? `${engine.model.name} ${engine.model.precision}`)
    } finally {
      await engine.close()
    }
  }
  if (precisions) for (const precision of precisions) await atPrecision(flags, precision, run)
  else await run(flags)
  for (const model of against) await run({ ...flags, model, precision: undefined })
}

/** A model of the hub at this precision, or a checkpoint that is built for this evaluation only. */
async function atPrecision(
  flags: ModelFlags,
  precision: Precision,
  run: (model: ModelFlags, name: string) => Promise<void>,
): Promise<void> {
  const model = flags.model ?? readConfig().model
  const [{ EMBEDDED_CHECKPOINT }, { isHubName }] = await Promise.all([
    import('../builder/embedded.ts'),
    import('../hub/repository.ts'),
  ])
  const checkpoint = model === '' ? EMBEDDED_CHECKPOINT : model
  if (!existsSync(checkpoint) && isHubName(checkpoint)) return await run({ ...flags, precision }, precision)
  if (existsSync(join(checkpoint, 'manifest.json'))) {
    const message = `Expected a checkpoint to build at ${precision} but ${checkpoint} is an artifact, whose precision is fixed. Give the checkpoint as --model, or compare artifacts: --against <artifact>`
    throw new SetupError('no_weights', message)
  }
  const { buildArtifact } = await import('../builder/build.ts')
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-evaluate-'))
  try {
    await buildArtifact(checkpoint, join(folder, 'artifact'), { precision, trial: false })
    await run({ ...flags, model: join(folder, 'artifact') }, precision)
  } finally {
    await rm(folder, { recursive: true })
  }
}

function precisionsOf(text: string): Precision[] {
  const names = text.split(',').map((name) => PRECISIONS.find((one) => one === name.trim()))
  if (names.every((name) => name !== undefined)) return names
  throw new InvalidArgumentError(`Expected some of ${PRECISIONS.join(', ')}, separated by commas.`)
}

/** A file of a user's own, by its ending: a folder may not exist. */
function isFile(path: string): boolean {
  return /\.(csv|jsonl)$/i.test(path)
}

function barOf(name: string, total: number): SingleBar {
  const format = `${name} {bar} {value} of {total} | {eta_formatted} left`
  const bar = new SingleBar({ format, stream: process.stderr })
  bar.start(total, 0)
  return bar
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
  const bar = barOf(report.set, scenes.length)
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

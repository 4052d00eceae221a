// glimpse evaluate <folders...>: how often captions and answers about made scenes are exactly right.

import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SingleBar } from 'cli-progress'
import { Command } from 'commander'
import { z } from 'zod'
import { type Engine, startEngine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { addModelFlags, type ModelFlags, modelFor } from './flags.ts'
import { readPicture } from './reply.ts'

const EMBEDDED_SETS = ['seen', 'validation', 'test', 'scattered'].map((name) =>
  fileURLToPath(new URL(`../../models/evaluation/${name}`, import.meta.url)),
)

const HELP = `
A folder holds pictures and scenes.jsonl, a line for each picture with its true caption and questions, as
training/scenes.py writes them. Without folders: the sets that come with the embedded model.

  seen        fresh scenes of designs the model was trained on
  validation  a designer it never saw, used to choose the training's settings
  test        a designer it never saw, used for nothing else
  scattered   designs the model was trained on, things of one kind lying anywhere

Examples:
  $ npx glimpse evaluate
  $ npx glimpse evaluate ./my-scenes --model ./my-artifact --json
`

const scene = z.object({
  file: z.string(),
  caption: z.string(),
  out_of_domain: z.boolean(),
  questions: z.array(
    z.object({ kind: z.string(), question: z.string(), answer: z.string(), heldOutWording: z.boolean() }),
  ),
})

interface Tally {
  right: number
  asked: number
}

interface Report {
  set: string
  pictures: number
  captions: Tally
  questions: Tally
  /** Questions whose wording the model was not trained on. */
  newWordings: Tally
  /** Of pictures it can't know: caption and answers that said so. */
  saidUnknown: Tally
  /** Of pictures it can know: captions that said unknown all the same. */
  falselyUnknown: Tally
  /** By kind, beside what always giving the kind's most frequent answer would score. */
  kinds: Record<string, Tally & { majority: number }>
}

export function evaluateCommand(): Command {
  const command = new Command('evaluate')
    .description('measures captions and answers on scenes whose truth is known')
    .argument('[folders...]', 'sets of scenes')
    .option('--json', 'one line of JSON for each set', false)
    .addHelpText('after', HELP)
  addModelFlags(command)
  return command.action(async (folders: string[], options: ModelFlags & { json: boolean }) => {
    const engine = await startEngine(await modelFor(options))
    try {
      for (const folder of folders.length > 0 ? folders : EMBEDDED_SETS) {
        const report = await evaluate(engine, folder)
        process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : `${table(report)}\n`)
      }
    } finally {
      await engine.close()
    }
  })
}

async function evaluate(engine: Engine, folder: string): Promise<Report> {
  const scenes = await readScenes(folder)
  const report: Report = {
    set: basename(folder),
    pictures: scenes.length,
    captions: tally(),
    questions: tally(),
    newWordings: tally(),
    saidUnknown: tally(),
    falselyUnknown: tally(),
    kinds: {},
  }
  const answersOfKind: Record<string, Map<string, number>> = {}
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
      if (out_of_domain) count(report.saidUnknown, text === caption)
      else {
        count(report.captions, text === caption)
        count(report.falselyUnknown, text === unknownCaption)
      }
      for (const { kind, question, answer, heldOutWording } of questions) {
        const right = (await engine.answer({ image, question })).text === answer
        if (out_of_domain) {
          count(report.saidUnknown, right)
          continue
        }
        count(report.questions, right)
        if (heldOutWording) count(report.newWordings, right)
        report.kinds[kind] ??= { ...tally(), majority: 0 }
        count(report.kinds[kind], right)
        answersOfKind[kind] ??= new Map()
        answersOfKind[kind].set(answer, (answersOfKind[kind].get(answer) ?? 0) + 1)
      }
      bar.increment()
    }
  } finally {
    bar.stop()
  }
  for (const [kind, answers] of Object.entries(answersOfKind))
    report.kinds[kind]!.majority = Math.max(...answers.values())
  return report
}

async function readScenes(folder: string): Promise<z.infer<typeof scene>[]> {
  const text = await readFile(join(folder, 'scenes.jsonl'), 'utf8').catch((cause: unknown) => {
    throw new SetupError(
      'no_scenes',
      `Expected scenes.jsonl in ${folder} but can't read it. Make a set with training/scenes.py.`,
      { cause },
    )
  })
  try {
    return text
      .trim()
      .split('\n')
      .map((line) => scene.parse(JSON.parse(line)))
  } catch (cause) {
    throw new SetupError(
      'bad_scenes',
      `Expected scenes.jsonl in ${folder} as training/scenes.py writes it but it is not. Make it again.`,
      { cause },
    )
  }
}

function table({
  set,
  pictures,
  captions,
  questions,
  newWordings,
  saidUnknown,
  falselyUnknown,
  kinds,
}: Report): string {
  const row = (name: string, { right, asked }: Tally, rest = '') =>
    `  ${name.padEnd(26)} ${`${right} of ${asked}`.padStart(12)}  ${percent(right, asked)}${rest}`
  return [
    `${set}: ${pictures} pictures`,
    row('captions exactly right', captions),
    row('questions right', questions),
    row('  of new wordings', newWordings),
    ...Object.entries(kinds)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([kind, result]) =>
        row(`  ${kind}`, result, `   most frequent answer ${percent(result.majority, result.asked)}`),
      ),
    row('unknown, and said so', saidUnknown),
    row('known, but said unknown', falselyUnknown),
    '',
  ].join('\n')
}

function tally(): Tally {
  return { right: 0, asked: 0 }
}

function count(to: Tally, right: boolean): void {
  to.asked++
  if (right) to.right++
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '      ' : `${((100 * part) / whole).toFixed(1).padStart(5)}%`
}

// A folder of scenes that training/pack.py wrote -> how often captions and answers are exactly right, by kind of question.

import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { z } from 'zod'
import type { Engine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import type { Turn } from '../tokens/prompt.ts'
import { withCount } from './progress.ts'
import { readPicture } from './reply.ts'

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

export interface SceneReport extends Record<keyof typeof COUNTED, Tally> {
  set: string
  pictures: number
  /** By kind of question; `majority`: how often the kind's most frequent answer is right. */
  kinds: Record<string, Tally & { majority: number }>
  /** By the number of turns before a question, from 0 to --turns. Empty without --turns. */
  afterTurns: Tally[]
}

/**
 * @param turns how many earlier turns each question is also asked after, from 0 to this many
 * @throws SetupError `no_scenes` or `bad_scenes`
 */
export async function evaluateScenes(engine: Engine, folder: string, turns: number): Promise<SceneReport> {
  const scenes = await readScenes(folder)
  const report: SceneReport = {
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
  await withCount(undefined, async ({ signal, onProgress }) => {
    for (const [index, { file, caption, out_of_domain, questions }] of scenes.entries()) {
      onProgress(index, scenes.length, report.set)
      const image = await readPicture(join(folder, file))
      const { text } = await engine.answer({ image }, { signal })
      count(out_of_domain ? report.saidUnknown : report.captions, text === caption)
      if (!out_of_domain) count(report.falselyUnknown, text === unknownCaption)
      for (const { kind, question, answer, heldOutWording } of questions) {
        const isRight = (await engine.answer({ image, question }, { signal })).text === answer
        count(out_of_domain ? report.saidUnknown : report.questions, isRight)
        if (out_of_domain) continue
        if (heldOutWording) count(report.newWordings, isRight)
        report.kinds[kind] ??= { right: 0, asked: 0, majority: majorityOf(scenes, kind) }
        count(report.kinds[kind], isRight)
      }
      if (!out_of_domain && questions.length > 0) {
        for (const [before, isRight] of await converse(engine, image, questions, turns, signal)) {
          count(report.afterTurns[before]!, isRight)
        }
      }
    }
  })
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
  signal: AbortSignal,
): Promise<[number, boolean][]> {
  if (turns === 0) return []
  const results: [number, boolean][] = []
  for (const first of questions.keys()) {
    const history: Turn[] = []
    for (let before = 0; before <= turns; before++) {
      const { question, answer } = questions[(first + before) % questions.length]!
      const { text } = await engine.answer({ image, question, history }, { signal })
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
    throw new SetupError('no_scenes', `Cannot read ${path}. Make a set with training/pack.py.`, { cause })
  })
  try {
    const lines = text.trim().split('\n')
    return lines.map((line) => scene.parse(JSON.parse(line)))
  } catch (cause) {
    const message = `${path} is not in the format that training/pack.py writes. Make the set again.`
    throw new SetupError('bad_scenes', message, { cause })
  }
}

export function tableOfScenes({ set, pictures, kinds, afterTurns, ...counted }: SceneReport): string {
  const percent = (part: number, whole: number) =>
    whole === 0 ? '      ' : `${((100 * part) / whole).toFixed(1).padStart(5)}%`
  const row = (name: string, { right, asked }: Tally, more = '') =>
    `  ${name.padEnd(26)} ${`${right} of ${asked}`.padStart(12)}  ${percent(right, asked)}${more}`
  const rows = (...names: (keyof typeof COUNTED)[]) =>
    names.filter((name) => counted[name].asked > 0).map((name) => row(COUNTED[name], counted[name]))
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

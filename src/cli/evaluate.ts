// glimpse evaluate <sets...>: how often captions and answers are right, about generated scenes or a user's own pictures.

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError } from 'commander'
import { readConfig } from '../config.ts'
import { type Engine, startEngine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { PRECISIONS, type Precision } from '../quantize/recipes.ts'
import { repeated } from './collection.ts'
import { addModelFlags, type ModelFlags, modelFor, wholeNumber } from './flags.ts'
import { askAll, readOwnSet, reportOf, tableOf } from './own-set.ts'
import { withCount } from './progress.ts'
import { evaluateScenes, tableOfScenes } from './scene-set.ts'

const EMBEDDED_SETS = ['seen', 'unseen', 'scattered', 'unknown'].map((name) =>
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

A set may also be a folder with pictures and scenes.jsonl, as training/pack.py
writes it. Without sets it measures those of the embedded model:

  seen       new scenes in the drawing styles that the model was trained on
  unseen     a style that the model never saw
  scattered  the trained styles, things at random positions
  unknown    single things that the model has no word for

Examples:
  $ npx glimpse evaluate mine.csv --model ./blip2-int4
  $ npx glimpse evaluate mine.csv --model ./opt-2.7b --precisions int8,int4
  $ npx glimpse evaluate mine.csv --model ./blip2-int8 --against ./blip2-int4
  $ npx glimpse evaluate ./my-scenes --model ./my-artifact --json
  # conversations of ten questions
  $ npx glimpse evaluate --turns 9
`

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
        const report = await evaluateScenes(engine, folder, options.turns)
        process.stdout.write(
          options.json
            ? `${JSON.stringify({ model: name, ...report })}\n`
            : `${areSeveral ? `${name}, ` : ''}${tableOfScenes(report)}\n`,
        )
      }
      for (const { path, rows, said } of own) {
        const note = `${basename(path)}, ${name}`
        const answers = await withCount(undefined, ({ signal, onProgress }) =>
          askAll(engine, rows, signal, (done) => onProgress(done, rows.length, note)),
        )
        said.push(answers)
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

// glimpse classify <images...> --labels a,b,c

import { Command, InvalidArgumentError, Option } from 'commander'
import { classify, type LabelScore } from '../engine/classify.ts'
import { startEngine } from '../engine/engine.ts'
import { isGlimpseError } from '../errors.ts'
import { addModelFlags, type ModelFlags, modelFor } from './flags.ts'
import { addTextProcessing } from './match.ts'
import { readPicture } from './reply.ts'

const HELP = `
Prints for each picture the label that fits best, and its score. Each label is
put into the template and compared with the picture, so any labels work without
training.

The template matters. Words that the pictures' descriptions in training would
not have make every label fit worse: on drawings, "a {} on a white background"
gave 53 % right where the bare name gave 75 %. Try a few on pictures that you
know.

--score contrastive (default) compares vectors. It is quick, however many labels
there are, and only its order means something: no value says "none of these".
--score probability reads picture and label together, once for each label: it
takes longer, and a picture to which no label applies has low values for all.

Examples:
  $ npx glimpse classify *.jpg --labels cat,dog,car --model ./blip2-itm
  a.jpg: dog  0.391
  b.jpg: car  0.377
  $ npx glimpse classify photo.jpg --labels cat,dog --template "a photo of a {}"
  # prediction, score, and predictions of all labels
  $ npx glimpse classify photo.jpg --labels cat,dog --json
`

interface Flags extends ModelFlags {
  labels: string[]
  template: string
  score: 'contrastive' | 'probability'
  textProcessing: 'none' | 'lavis'
  json: boolean
}

export function classifyCommand(): Command {
  const command = new Command('classify')
    .description('finds the label that fits each picture best')
    .argument('<images...>', 'picture files; - is standard input')
    .requiredOption('--labels <list>', 'labels, separated by commas', labelsOf)
    .option('--template <text>', 'text around a label, which takes the place of {}', templateOf, '{}')
    .addOption(
      new Option('--score <name>', 'what is compared')
        .choices(['contrastive', 'probability'])
        .default('contrastive'),
    )
    .option('--json', 'one line of JSON for each picture', false)
    .addHelpText('after', HELP)
  addTextProcessing(command)
  addModelFlags(command)
  return command.action(async (paths: string[], flags: Flags) => {
    const engine = await startEngine(await modelFor(flags))
    try {
      for (const path of paths) {
        try {
          const predictions = await classify(engine, { image: await readPicture(path) }, flags.labels, {
            template: flags.template,
            rank_by: flags.score,
            text_processing: flags.textProcessing,
          })
          process.stdout.write(lineOf(path, predictions, flags))
        } catch (error) {
          if (paths.length === 1 || !isGlimpseError(error)) throw error
          process.stderr.write(`glimpse: ${path}: ${error.message}\n`)
          process.exitCode = 1
        }
      }
    } finally {
      await engine.close()
    }
  })
}

function lineOf(image: string, predictions: readonly LabelScore[], { json, score: name }: Flags): string {
  const { label: prediction, score } = predictions[0]!
  if (json) return `${JSON.stringify({ image, prediction, score, predictions })}\n`
  return `${image}: ${prediction}  ${name === 'probability' ? `${(100 * score).toFixed(1)}%` : score.toFixed(3)}\n`
}

function labelsOf(text: string): string[] {
  const labels = text.split(',').map((label) => label.trim())
  if (labels.length > 1 && labels.every((label) => label !== '')) return labels
  throw new InvalidArgumentError('Expected two labels or more, separated by commas.')
}

function templateOf(text: string): string {
  if (text.includes('{}')) return text
  throw new InvalidArgumentError('Expected a text with {} in the place of the label.')
}

// glimpse match <image> <texts...>

import { Command, Option } from 'commander'
import { startEngine } from '../engine/engine.ts'
import type { MatchFields } from '../engine/tasks/match.ts'
import { textProcessing } from '../engine/tasks/text.ts'
import { addModelFlags, type ModelFlags, modelFor } from './flags.ts'
import { readPicture } from './reply.ts'

const HELP = `
Prints a line for each text, best first: the probability that it is about the
picture, the contrastive score, the text.

The probability comes from the model reading picture and text together; those of
several texts do not add up to 100 %, because several may be true. The
contrastive score compares vectors of the two, from -1 to 1. It says which text
fits better than another, not whether one fits. It is quick: --rank-by
contrastive leaves the probability out.

The model must be one for matching: Salesforce/blip2-itm-vit-g, or one built
with \`glimpse build --with\`. The embedded model matches drawings of the kind
that it was trained on.

Examples:
  $ npx glimpse match photo.jpg "a dog on a beach" "a cat" --model ./blip2-itm
   98.1%  0.413  a dog on a beach
    0.2%  0.127  a cat on a sofa
  # logits too; text, matches, timings_ms, model, picture
  $ npx glimpse match photo.jpg "a dog" --json
  # as LAVIS cleaned texts in training
  $ npx glimpse match photo.jpg "A dog!" --text-processing lavis
`

export function addTextProcessing(command: Command): Command {
  const option = new Option('--text-processing <name>', 'what is done to a text before it is tokenized')
  return command.addOption(option.choices(textProcessing.options).default('none'))
}

interface Flags extends ModelFlags {
  json: boolean
  rankBy: NonNullable<MatchFields['rank_by']>
  textProcessing: NonNullable<MatchFields['text_processing']>
}

export function matchCommand(): Command {
  const command = new Command('match')
    .description('says how well each text matches a picture')
    .argument('<image>', 'picture file; - is standard input')
    .argument('<texts...>', 'at most 128')
    .addOption(
      new Option('--rank-by <score>', 'what decides the order')
        .choices(['probability', 'contrastive'])
        .default('probability'),
    )
    .option('--json', 'one line of JSON', false)
    .addHelpText('after', HELP)
  addTextProcessing(command)
  addModelFlags(command)
  return command.action(async (path: string, texts: string[], flags: Flags) => {
    const image = await readPicture(path)
    const engine = await startEngine(await modelFor(flags))
    try {
      const { rankBy: rank_by, textProcessing: text_processing } = flags
      const result = await engine.answer<'match'>({ task: 'match', image, texts, rank_by, text_processing })
      if (flags.json) return void process.stdout.write(`${JSON.stringify(result)}\n`)
      for (const { text, probability, contrastive } of result.matches) {
        const percent = probability === undefined ? '' : `${(100 * probability).toFixed(1).padStart(5)}%  `
        process.stdout.write(`${percent}${contrastive.toFixed(3).padStart(6)}  ${text}\n`)
      }
    } finally {
      await engine.close()
    }
  })
}

// glimpse ask <image> <question>

import { Command } from 'commander'
import { RequestError } from '../errors.ts'
import { addGenerationFlags, addModelFlags } from './flags.ts'
import { answerPictures, type ReplyFlags } from './reply.ts'

const HELP = `
Examples:
  $ npx glimpse ask models/demo/crab-and-helicopter.png "what is on the left?"
  a crab
  $ npx glimpse ask models/demo/guitars.png "how many guitars are there?" --json | jq -r .text
  five
  $ npx glimpse ask scene.png "how many dogs are there?" --model ./blip2-int4 --num-beams 5
`

export function askCommand(): Command {
  const command = new Command('ask')
    .description('answers a question about a picture')
    .argument('<image>', 'picture file; - is standard input')
    .argument('<question>', 'in plain words')
    .option('--json', 'one line of JSON', false)
    .addHelpText('after', HELP)
  addModelFlags(command)
  addGenerationFlags(command)
  return command.action(async (image: string, question: string, options: ReplyFlags) => {
    if (question.trim() === '') {
      const message =
        'Expected a question but got an empty text. For a caption run: npx glimpse caption <image>'
      throw new RequestError('no_question', message)
    }
    await answerPictures([image], { question }, options)
  })
}

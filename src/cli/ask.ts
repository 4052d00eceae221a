// glimpse ask <image> <question>

import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { RequestError } from '../errors.ts'
import { shellWord } from '../shell.ts'
import { addGenerationFlags, addModelFlags } from './flags.ts'
import { answerPictures, type ReplyFlags } from './reply.ts'

const HELP = `
Examples:
  $ npx glimpse ask models/demo/crab-and-helicopter.png "what is on the left?"
  a crab
  $ npx glimpse ask models/demo/guitars.png "how many guitars are there?" --json
  {"text":"five", ...}
  $ npx glimpse ask scene.png "how many dogs?" --model ./blip2 --num-beams 5
`

export function askCommand(): Command {
  const command = new Command('ask')
    .description('answers a question about a picture')
    .argument('<image>', 'picture file; - is standard input')
    .argument('<question>', 'in plain words')
    .option('--json', 'one line of JSON', false)
    .allowExcessArguments()
    .addHelpText('after', HELP)
  addModelFlags(command)
  addGenerationFlags(command)
  return command.action(async (image: string, question: string, options: ReplyFlags) => {
    const [, ...words] = command.args
    if (words.length > 1 || question.trim() === '') throw noQuestion(image, words)
    if (!existsSync(image) && existsSync(question)) throw swapped(image, question)
    await answerPictures([image], { question }, options)
  })
}

function noQuestion(image: string, words: readonly string[]): RequestError {
  const got = words.length > 1 ? `${words.length} words` : 'an empty text'
  const question = words.join(' ').trim() || 'what is this?'
  const example = `npx glimpse ask ${shellWord(image)} ${JSON.stringify(question)}`
  const caption = `For a caption: npx glimpse caption ${shellWord(image)}`
  return new RequestError(
    'no_question',
    `Expected a question in quotes but got ${got}. Ask: ${example}. ${caption}`,
  )
}

function swapped(question: string, image: string): RequestError {
  const example = `npx glimpse ask ${shellWord(image)} ${JSON.stringify(question)}`
  return new RequestError('no_picture', `Expected the picture first and then the question. Ask: ${example}`)
}

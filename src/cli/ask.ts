// glimpse ask <image> <question>

import { Command } from 'commander'
import { startEngine } from '../engine/engine.ts'
import { RequestError } from '../errors.ts'
import { addGenerationFlags, addModelFlags, type ModelFlags, modelFor, settingsOf } from './flags.ts'
import { answerAndPrint } from './reply.ts'

const HELP = `
Examples:
  $ npx glimpse ask scene.png "how many dogs are there?"
  $ npx glimpse ask scene.png "what color is the car?" --json
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
  return command.action(async (image: string, question: string, options: ModelFlags & { json: boolean }) => {
    if (question.trim() === '') {
      throw new RequestError(
        'no_question',
        'Expected a question but got none. For a caption: npx glimpse caption <image>',
      )
    }
    const engine = await startEngine(await modelFor(options))
    try {
      const ask = { question, settings: settingsOf({ ...options }) }
      await answerAndPrint(engine, image, ask, { json: options.json, label: false })
    } finally {
      await engine.close()
    }
  })
}

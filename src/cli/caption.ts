// glimpse caption <images...>

import { Command } from 'commander'
import { startEngine } from '../engine/engine.ts'
import { isGlimpseError } from '../errors.ts'
import { addGenerationFlags, addModelFlags, type ModelFlags, modelFor, settingsOf } from './flags.ts'
import { answerAndPrint } from './reply.ts'

const HELP = `
Examples:
  $ npx glimpse caption cat.jpg
  $ npx glimpse caption --json cat.jpg                  text, token_ids, sequences, prompt, timings_ms, model, picture
  $ npx glimpse caption *.png                           a line for each picture
  $ npx glimpse caption --num-beams 5 --max-new-tokens 30 cat.jpg
  $ npx glimpse caption --prompt "a photo of" cat.jpg   the caption goes on from these words
  $ curl -s https://example.org/cat.jpg | npx glimpse caption -
`

export function captionCommand(): Command {
  const command = new Command('caption')
    .description('says what is in each picture')
    .argument('<images...>', 'picture files (JPEG, PNG, WebP, GIF, AVIF, TIFF); - is standard input')
    .option('--json', 'one line of JSON for each picture', false)
    .option('--prompt <text>', 'words the caption goes on from')
    .addHelpText('after', HELP)
  addModelFlags(command)
  addGenerationFlags(command)
  return command.action(
    async (images: string[], options: ModelFlags & { json: boolean; prompt?: string }) => {
      const engine = await startEngine(await modelFor(options))
      const ask = { settings: settingsOf({ ...options }), prompt: options.prompt }
      try {
        for (const image of images) {
          await answerAndPrint(engine, image, ask, { json: options.json, label: images.length > 1 }).catch(
            (error: unknown) => {
              // One bad picture must not cost the others their captions.
              if (images.length === 1 || !isGlimpseError(error)) throw error
              process.stderr.write(`glimpse: ${image}: ${error.message}\n`)
              process.exitCode = 1
            },
          )
        }
      } finally {
        await engine.close()
      }
    },
  )
}

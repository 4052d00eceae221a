// glimpse caption <images...>

import { Command } from 'commander'
import { addGenerationFlags, addModelFlags } from './flags.ts'
import { answerPictures, type ReplyFlags } from './reply.ts'

const HELP = `
Examples:
  $ npx glimpse caption models/demo/guitars.png
  five guitars on a green background
  # one line for each picture
  $ npx glimpse caption models/demo/*.png
  models/demo/crab-and-helicopter.png: a crab to the left of a helicopter on ...
  models/demo/faces-out-of-domain.png: something i do not know
  ...
  # text, token_ids, sequences, prompt, timings_ms, model, picture
  $ npx glimpse caption --json cat.jpg
  $ npx glimpse caption --num-beams 5 --max-new-tokens 30 cat.jpg
  # the caption continues these words
  $ npx glimpse caption --prompt "a photo of" cat.jpg
  $ curl -s https://example.org/cat.jpg | npx glimpse caption -
`

export function captionCommand(): Command {
  const command = new Command('caption')
    .description('says what is in each picture')
    .argument('<images...>', 'picture files (JPEG, PNG, WebP, GIF, AVIF, TIFF); - is standard input')
    .option('--json', 'one line of JSON for each picture', false)
    .option('--prompt <text>', 'words that the caption continues')
    .addHelpText('after', HELP)
  addModelFlags(command)
  addGenerationFlags(command)
  return command.action(async (images: string[], options: ReplyFlags & { prompt?: string }) =>
    answerPictures(images, { prompt: options.prompt }, options),
  )
}

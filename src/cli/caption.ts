// glimpse caption <images...>

import { stat } from 'node:fs/promises'
import { Command, Option } from 'commander'
import { isGlob } from '../search/walk.ts'
import type { Place } from '../xmp/alt-text.ts'
import type { BatchFlags } from './caption-pictures.ts'
import { repeated } from './collection.ts'
import { addGenerationFlags, addModelFlags } from './flags.ts'
import { answerPictures } from './reply.ts'

const PLACES: readonly Place[] = ['sidecar', 'xmp']
const EXCLUDE = 'names, or paths below a folder, to leave out; may be given several times'

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

Many pictures (docs/batch.md):
  $ npx glimpse caption photos/ -r --out alt.jsonl
  312 pictures: 309 captioned, 0 reused, 3 errors. Rows: alt.jsonl
  # after it was interrupted, or pictures were added, changed or renamed
  $ npx glimpse caption photos/ -r --out alt.jsonl --resume
  $ npx glimpse caption "photos/**/*.jpg" --out alt.csv --exclude "old/*"
  $ find photos -newer last -print0 | npx glimpse caption - --out new.jsonl
  # the alt text into the files, where other programs look for it
  $ npx glimpse caption photos/ -r --out alt.jsonl --write xmp
`

export function captionCommand(): Command {
  const command = new Command('caption')
    .description('says what is in each picture')
    .argument(
      '<images...>',
      'picture files (JPEG, PNG, WebP, GIF, AVIF, TIFF), folders, globs; - is a picture on standard input, with --out a list of names',
    )
    .option('--json', 'one line of JSON for each picture', false)
    .option('--prompt <text>', 'words that the caption continues')
  const many = (option: Option) => command.addOption(option.helpGroup('Many pictures:'))
  many(new Option('-o, --out <file>', 'a row for each picture, in a .jsonl or .csv file'))
  many(new Option('--resume', 'continues that file: what is done is not done again').default(false))
  many(new Option('-r, --recursive', 'takes the folders below a folder too').default(false))
  many(new Option('--exclude <glob>', EXCLUDE).argParser(repeated))
  many(new Option('--hidden', 'takes files and folders whose name begins with a dot').default(false))
  many(new Option('--write <place>', 'the alt text, also into the files or beside them').choices(PLACES))
  many(new Option('--overwrite', "with --write: replaces a person's alt text").default(false))
  command.addHelpText('after', HELP)
  addModelFlags(command)
  addGenerationFlags(command)
  return command.action(async (images: string[], options: BatchFlags) => {
    if (options.resume && options.out === undefined) command.error('error: --resume needs --out')
    if (options.overwrite && options.write === undefined) command.error('error: --overwrite needs --write')
    if (!(await isBatch(images, options)))
      return await answerPictures(images, { prompt: options.prompt }, options)
    const { captionAll } = await import('./caption-pictures.ts')
    await captionAll(images, options)
  })
}

/** Whether the names or flags ask for rows. */
async function isBatch(names: readonly string[], { out, write }: BatchFlags): Promise<boolean> {
  if (out !== undefined || write !== undefined) return true
  const kinds = await Promise.all(
    names.map((name) =>
      stat(name).then(
        (found) => found.isDirectory(),
        () => isGlob(name) && !/^https?:/i.test(name),
      ),
    ),
  )
  return kinds.includes(true)
}

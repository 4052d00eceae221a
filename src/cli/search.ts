// glimpse search "<text>": pictures of the index that a text, or another picture, is about.

import { readFile } from 'node:fs/promises'
import { Command, InvalidArgumentError, Option } from 'commander'
import { RequestError } from '../errors.ts'
import { type Found, find, type Search, type Term } from '../search/find.ts'
import { checkModel, existingCollection } from '../search/open.ts'
import {
  addCollectionFlags,
  type CollectionFlags,
  insideOf,
  repeated,
  withEmbedder,
  withStore,
} from './collection.ts'
import { addModelFlags, type ModelFlags, wholeNumber } from './flags.ts'
import { readPicture } from './reply.ts'

const HELP = `
Each line has the contrastive score, from -1 to 1, the probability of a match
where the model has read text and picture together, and the path. The score
orders pictures for one text; it is no probability, and its size means nothing
by itself. --least-probability cuts off what is not about the text, so that
nothing can be the answer: the model then reads the best candidates again, for
--rerank-seconds. The model understands the language that it was trained on,
which is English for BLIP-2, and it does not read text in pictures.

Examples:
  $ npx glimpse search "a dog on the beach" --model ./blip2-itm
  0.412        /home/ann/Pictures/2024/dog.jpg
  $ npx glimpse search "a dog" --minus "a person" --from 2024-06-01
  $ npx glimpse search "a red bicycle" --least-probability 0.5
  0.388   93%  /home/ann/Pictures/bike.jpg
  $ npx glimpse search --like photo.jpg --limit 5
  $ npx glimpse search "a receipt" --paths -0 | xargs -0 cp -t ./receipts
`

type Flags = ModelFlags &
  CollectionFlags & {
    like?: string[]
    minus?: string[]
    folder?: string[]
    from?: number
    to?: number
    limit: number
    offset: number
    sort: Search['sort']
    leastProbability?: number
    rerank?: boolean
    rerankSeconds: number
    json: boolean
    paths: boolean
    null: boolean
  }

export function searchCommand(): Command {
  const command = new Command('search')
    .description('finds pictures by what is in them, after `glimpse index`')
    .argument('[text]', 'what the pictures show')
    .option('--like <file>', 'a picture that they are like; may be given several times', repeated)
    .option('--minus <text>', 'what they do not show; may be given several times', repeated)
    .option('--folder <folder>', 'only pictures below it; may be given several times', repeated)
    .option('--from <day>', 'only files modified on this day or later, as 2024-06-01', dayOf('start'))
    .option('--to <day>', 'only files modified on this day or earlier', dayOf('end'))
    .option('--limit <count>', 'most pictures', wholeNumber(1, 10_000), 10)
    .option('--offset <count>', 'pictures to leave out first', wholeNumber(0, 10_000), 0)
    .addOption(
      new Option('--sort <order>', 'order of the pictures that were found')
        .choices(['score', 'newest', 'oldest'])
        .default('score'),
    )
    .option('--least-probability <value>', 'only pictures whose probability is at least this', probability)
    .option('--rerank', 'ranks the best by probability too (default: where the model says that it helps)')
    .option('--no-rerank', 'ranks by the contrastive score alone')
    .option('--rerank-seconds <seconds>', 'time for reading candidates again', wholeNumber(1, 3_600), 2)
    .option('--paths', 'paths alone, one a line', false)
    .option('-0, --null', 'with --paths: a NUL behind each path in place of a line break', false)
    .option('--json', 'one line of JSON for each picture: image, contrastive, probability', false)
    .addHelpText('after', HELP)
  addCollectionFlags(command)
  addModelFlags(command)
  return command.action(async (text: string | undefined, flags: Flags) => {
    const search = await searchOf(text, flags)
    const found = await withStore(flags, async (store) => {
      const collection = await existingCollection(store, flags.collection)
      return await withEmbedder(flags, async (embedder) => {
        checkModel(collection, flags.collection, store.location, embedder.model)
        const pictureOf = async ({ id }: { id: string }) => {
          const image = await readFile(id).catch(() => undefined)
          return image && { image }
        }
        return await find({ collection, embedder, pictureOf }, search)
      })
    })
    process.stdout.write(linesOf(found, flags))
    if (found.hits.length === 0) process.stderr.write('Nothing was found.\n')
  })
}

async function searchOf(text: string | undefined, flags: Flags): Promise<Search> {
  const pictures = await Promise.all((flags.like ?? []).map(readPicture))
  const terms: Term[] = [...(text === undefined ? [] : [{ text }]), ...pictures.map((image) => ({ image }))]
  if (terms.length === 0) {
    throw new RequestError(
      'no_question',
      'Expected a text or --like <file> but got neither. See: npx glimpse search --help',
    )
  }
  const { minus, limit, offset, sort, leastProbability, rerank, rerankSeconds } = flags
  const filter = { under: insideOf(flags.folder), fromMs: flags.from, toMs: flags.to }
  const rerankMs = 1_000 * rerankSeconds
  return { terms, minus, filter, limit, offset, sort, leastProbability, rerank, rerankMs }
}

function linesOf({ hits }: Found, { paths, null: isNull, json }: Flags): string {
  const lines = hits.map(({ picture: { id: image }, contrastive, probability }) => {
    if (json) return `${JSON.stringify({ image, contrastive, probability })}\n`
    if (paths) return `${image}${isNull ? '\0' : '\n'}`
    const percent = probability === null ? '' : `${(100 * probability).toFixed(0)}%`
    return `${contrastive.toFixed(3)}  ${percent.padStart(4)}  ${image}\n`
  })
  return lines.join('')
}

/** The first or the last millisecond of a day of this machine's time zone. */
function dayOf(part: 'start' | 'end'): (text: string) => number {
  return (text) => {
    const [, year, month, day] = (/^(\d{4})-(\d{2})-(\d{2})$/.exec(text) ?? []).map(Number)
    const start = new Date(year!, month! - 1, day)
    if (start.getMonth() !== month! - 1) throw new InvalidArgumentError('Expected a day like 2024-06-01.')
    // The length of a day differs when clocks change.
    return part === 'start' ? start.getTime() : new Date(year!, month! - 1, day! + 1).getTime() - 1
  }
}

function probability(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= 0 && value <= 1) return value
  throw new InvalidArgumentError('Expected a number from 0 to 1.')
}

// glimpse duplicates: pictures of the index that are the same file, or look the same.

import { Command, InvalidArgumentError } from 'commander'
import { type DuplicateGroup, findDuplicates } from '../search/duplicates.ts'
import { existingCollection } from '../search/open.ts'
import { addCollectionFlags, type CollectionFlags, insideOf, repeated, withStore } from './collection.ts'
import { withCount } from './progress.ts'

const HELP = `
Files are the same by their sha256. Pictures look the same when their vectors
are alike by at least --similarity, from -1 to 1: recompressed, resized,
slightly edited. The best value depends on the model; docs/search.md says how to
measure it. No model is loaded.

Examples:
  $ npx glimpse duplicates
  2 pictures, the same file
    /home/ann/Pictures/dog.jpg
    /home/ann/Pictures/copy of dog.jpg
  3 pictures, alike by 0.991 or more
    ...
  # the same files only
  $ npx glimpse duplicates --similarity 1.1
  # all but the oldest of each group
  $ npx glimpse duplicates --extra -0 | xargs -0 -n 1 echo rm
`

type Flags = CollectionFlags & {
  folder?: string[]
  similarity?: number
  extra: boolean
  null: boolean
  json: boolean
}

export function duplicatesCommand(): Command {
  const command = new Command('duplicates')
    .description('finds pictures of the index that are the same or look the same')
    .option('--folder <folder>', 'only pictures below it; may be given several times', repeated)
    .option('--similarity <value>', "least similarity (default: the model's own, else 0.98)", similarity)
    .option('--extra', 'paths alone: of each group all but the oldest file', false)
    .option('-0, --null', 'with --extra: a NUL behind each path in place of a line break', false)
    .option('--json', 'one line of JSON for each group: similarity, images', false)
    .addHelpText('after', HELP)
  addCollectionFlags(command)
  return command.action(async (flags: Flags) => {
    const groups = await withStore(flags, async (store) => {
      const collection = await existingCollection(store, flags.collection)
      return await withCount(undefined, ({ signal, onProgress }) =>
        findDuplicates(collection, {
          leastSimilarity: flags.similarity,
          filter: { under: insideOf(flags.folder) },
          signal,
          onProgress,
        }),
      )
    })
    process.stdout.write(groups.map((group) => linesOf(group, flags)).join(''))
  })
}

function linesOf({ pictures, similarity }: DuplicateGroup, flags: Flags): string {
  const byAge = [...pictures].sort((one, other) => one.modifiedMs - other.modifiedMs)
  const images = byAge.map(({ id }) => id)
  if (flags.json) return `${JSON.stringify({ similarity, images })}\n`
  if (flags.extra)
    return images
      .slice(1)
      .map((image) => `${image}${flags.null ? '\0' : '\n'}`)
      .join('')
  const isSame = pictures.every(({ sha256 }) => sha256 === pictures[0]!.sha256)
  const how = isSame ? 'the same file' : `alike by ${similarity.toFixed(3)} or more`
  return [`${images.length} pictures, ${how}`, ...images.map((image) => `  ${image}`), ''].join('\n')
}

function similarity(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= -1 && value <= 2) return value
  throw new InvalidArgumentError('Expected a number from -1 to 1, or above 1 for equal files only.')
}

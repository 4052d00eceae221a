// glimpse index <folders...>: makes the pictures of folders findable.

import { Command } from 'commander'
import { type IndexReport, indexFolders } from '../search/index-folders.ts'
import { collectionOfModel } from '../search/open.ts'
import { addCollectionFlags, type CollectionFlags, repeated, withEmbedder, withStore } from './collection.ts'
import { addModelFlags, type ModelFlags } from './flags.ts'
import { withCount } from './progress.ts'

const HELP = `
Run it again after the folders have changed: only new and changed pictures are
read. Files are compared by size and modification time, then by sha256, so a
moved picture costs nothing, and one that is gone leaves the index. An
interrupted run, also a killed one, continues where it was. Files that are no
pictures are listed once a run and read again only when they change. Links to
folders are not followed.

The index belongs to one model: another one is refused, because its vectors mean
something else.

Examples:
  $ npx glimpse index ~/Pictures --model ./blip2-itm
  1204 pictures: 1204 added, 0 changed, 0 copied, 0 removed, 0 unchanged, ...
  $ npx glimpse index ~/Pictures --exclude "*.gif" --exclude "scans/old"
  $ npx glimpse index ~/Pictures --collection work --store s3://bucket/search
  $ npx glimpse search "a dog on the beach" --model ./blip2-itm
`

type Flags = ModelFlags &
  CollectionFlags & { hidden: boolean; exclude?: string[]; rebuild: boolean; json: boolean }

export function indexCommand(): Command {
  const command = new Command('index')
    .description('makes the pictures in folders findable by `glimpse search`')
    .argument('<folders...>', 'folders with pictures, or picture files')
    .option(
      '--exclude <glob>',
      'names, or paths below a folder, to leave out; may be given several times',
      repeated,
    )
    .option('--hidden', 'takes files and folders whose name begins with a dot', false)
    .option('--rebuild', 'removes the index first, to change its model', false)
    .option('--json', 'the counts and the skipped files as one line of JSON', false)
    .addHelpText('after', HELP)
  addCollectionFlags(command)
  addModelFlags(command)
  return command.action(async (folders: string[], flags: Flags) => {
    const report = await withStore(flags, (store) =>
      withEmbedder(flags, async (embedder) => {
        const collection = await collectionOfModel(store, flags.collection, embedder.model, flags.rebuild)
        return await withCount('pictures_indexed', ({ signal, onProgress }) => {
          let last: [number, number] = [0, 0]
          return indexFolders(collection, embedder, folders, {
            hidden: flags.hidden,
            exclude: flags.exclude,
            signal,
            onProgress(...progress) {
              last = progress
              if (progress[1] > 0) onProgress(...progress)
            },
            onSettling: () => last[1] > 0 && onProgress(...last, ' | updating the index'),
          })
        })
      }),
    )
    if (flags.json) return void process.stdout.write(`${JSON.stringify(report)}\n`)
    for (const { path, why } of report.skipped) process.stderr.write(`skipped ${path}: ${why}\n`)
    process.stdout.write(`${summaryOf(report)}\n`)
  })
}

function summaryOf({ files, skipped, ...counts }: IndexReport): string {
  const { added, changed, copied, removed, unchanged } = counts
  return `${files} pictures: ${added} added, ${changed} changed, ${copied} copied, ${removed} removed, ${unchanged} unchanged, ${skipped.length} skipped`
}

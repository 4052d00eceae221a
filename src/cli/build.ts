// glimpse build <checkpoint> --out <folder>; also the flags and the last lines that it shares with `glimpse pull`.

import { Command, Option } from 'commander'
import type { Manifest } from '../artifact/contract.ts'
import { cancelled } from '../errors.ts'
import { PRECISIONS, type Precision, TARGETS, type Target } from '../quantize/recipes.ts'
import { shellWord } from '../shell.ts'
import { megabytes } from '../units.ts'

const HELP = `
The checkpoint is a folder in Hugging Face's layout: config.json,
model.safetensors or its shards with their index, preprocessor_config.json and
the tokenizer's files. The build needs little memory: it reads one weight at a
time.

  fp32  weights as in the checkpoint, for comparisons
  int8  vision, queries and language model at 8 bits: about half the size of an
        fp16 checkpoint
  int4  the language model's layers at 4 bits, the rest as in int8: about a
        third of the size

With --with, one artifact answers and matches. A picture goes through the vision
tower once for both, so the two towers must be equal, except for their last
norm; otherwise the build says where they differ, and each needs an artifact.

For a GPU (GLIMPSE_PROVIDER), --for gpu stores the vision weights in a format
with GPU kernels; fp32 stays the same.

Examples:
  $ npx glimpse build models/pico --out ./pico-int8
  pico at int8: 6.5 MB in ./pico-int8, from 11 MB of weights
  Try it: npx glimpse caption --model ./pico-int8 <picture>
  $ npx glimpse build ./blip2-opt-2.7b --out ./blip2-int4 --precision int4
  $ npx glimpse caption --model ./blip2-int4 photo.jpg
  $ npx glimpse build ./blip2-opt-2.7b --with ./blip2-itm --out ./blip2-both
`

export interface BuildFlags {
  out: string
  precision: Precision
  for: Target
  name?: string
  trial?: boolean
}

export function buildCommand(): Command {
  const command = new Command('build')
    .description('builds the graphs that Glimpse runs from a checkpoint on disk')
    .argument('<checkpoint>', 'folder of a BLIP-2 checkpoint')
    .option('--with <checkpoint>', 'folder of a second one, which matches (Blip2ForImageTextRetrieval)')
  return addBuildFlags(command, "the checkpoint folder's name")
    .addHelpText('after', HELP)
    .action(async (checkpoint: string, flags: BuildFlags & { with?: string }) => {
      // Imported on use, so that --help is quick.
      const [{ buildArtifact }, { withProgress }] = await Promise.all([
        import('../builder/build.ts'),
        import('./progress.ts'),
      ])
      const manifest = await withProgress(undefined, ({ signal, onProgress }) =>
        buildArtifact(checkpoint, flags.out, {
          ...optionsOf(flags),
          matching: flags.with,
          onProgress({ graph, ...bytes }) {
            // An error thrown at this point makes the build remove what it has written.
            if (signal.aborted) throw cancelled('The build was interrupted. Its partial files are removed.')
            onProgress({ ...bytes, note: ` | ${graph}` })
          },
        }),
      )
      process.stdout.write(summaryOf(manifest, manifest.name, flags.out))
    })
}

export function addBuildFlags(command: Command, defaultName: string): Command {
  return command
    .requiredOption('-o, --out <folder>', 'folder for the artifact: new, empty or an earlier artifact')
    .addOption(
      new Option('-p, --precision <name>', 'how weights are stored').choices(PRECISIONS).default('int8'),
    )
    .addOption(new Option('--for <target>', 'processor that will run it').choices(TARGETS).default('cpu'))
    .option('--name <name>', `the model's name in replies (default: ${defaultName})`)
    .option('--trial', 'generate a few words as a smoke test, even if that takes more than 1.2 GB of memory')
    .option('--no-trial', 'skip the smoke test, and keep a model that answers with empty text')
}

export function optionsOf({ precision, for: target, name, trial }: BuildFlags) {
  return { precision, target: target === 'gpu' ? target : undefined, name, trial }
}

/** What a finished build prints. `title` names the model. */
export function summaryOf(
  { files, precision, source, trial, language }: Manifest,
  title: string,
  out: string,
): string {
  const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  return [
    `${title} at ${precision}: ${megabytes(bytes)} in ${out}, from ${megabytes(source.weight_bytes)} of weights`,
    ...(trial
      ? []
      : ['Not smoke-tested. Run it once, or build with --trial, which may need more than 1.2 GB of memory.']),
    ...(trial?.texts.length && trial.texts.every((text) => text === '')
      ? ['The model answers with empty text. Check that the checkpoint is complete and trained.']
      : []),
    language.kind === 'none'
      ? `Try it: npx glimpse match --model ${shellWord(out)} <picture> <text>\n`
      : `Try it: npx glimpse caption --model ${shellWord(out)} <picture>\n`,
  ].join('\n')
}

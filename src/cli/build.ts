// glimpse build <checkpoint> --out <folder>

import { SingleBar } from 'cli-progress'
import { Command, Option } from 'commander'
import type { Manifest } from '../artifact/contract.ts'
import { buildArtifact } from '../builder/build.ts'
import { BusyError } from '../errors.ts'
import { PRECISIONS, type Precision, TARGETS, type Target } from '../quantize/recipes.ts'
import { shellWord } from '../shell.ts'

const HELP = `
The checkpoint is a folder as Hugging Face lays it out: config.json, model.safetensors or its shards and their index,
preprocessor_config.json, tokenizer files. Memory stays small: weights pass through one at a time.

  fp32  as it is, for comparisons
  int8  vision, queries and language model at 8 bits: about half the bytes of an fp16 checkpoint
  int4  the language model's layers at 4 bits, the rest as int8: about a third

On a GPU (GLIMPSE_PROVIDER) --for gpu stores vision so that the GPU has kernels for it; at fp32 it changes nothing.

Examples:
  $ npx glimpse build ./blip2-opt-2.7b --out ./blip2-int4 --precision int4
  $ npx glimpse caption --model ./blip2-int4 photo.jpg
`

export function buildCommand(): Command {
  return new Command('build')
    .description('makes a checkpoint into graphs that Glimpse runs')
    .argument('<checkpoint>', 'folder of a BLIP-2 checkpoint with an OPT language model')
    .requiredOption('-o, --out <folder>', 'where the artifact goes')
    .addOption(
      new Option('-p, --precision <name>', 'how weights are stored').choices(PRECISIONS).default('int8'),
    )
    .addOption(new Option('--for <target>', 'what it is to run on').choices(TARGETS).default('cpu'))
    .option('--name <name>', "the model's name in replies (default: the checkpoint folder's)")
    .option('--trial', 'have it generate something at the end, also where that takes more than 1.2 GB')
    .option('--no-trial', 'do not, and take it even if it answers with nothing')
    .addHelpText('after', HELP)
    .action(
      async (
        checkpoint: string,
        {
          for: target,
          ...options
        }: { out: string; precision: Precision; for: Target; name?: string; trial?: boolean },
      ) => {
        const bar = new SingleBar({
          format: '{graph} {bar} {percentage}% | {doneMb} of {totalMb} MB | {eta_formatted} left',
          stream: process.stderr,
          hideCursor: true,
          noTTYOutput: false,
          etaBuffer: 50,
        })
        let started = false
        let interrupted = false
        const interrupt = () => {
          interrupted = true
        }
        process.once('SIGINT', interrupt)
        process.once('SIGTERM', interrupt)
        const onProgress = ({
          graph,
          doneBytes,
          totalBytes,
        }: {
          graph: string
          doneBytes: number
          totalBytes: number
        }) => {
          // Thrown here, the build cleans up after itself before it ends.
          if (interrupted)
            throw new BusyError('cancelled', 'The build was interrupted; nothing of it is left.')
          const shown = {
            graph: graph.padEnd(8),
            doneMb: megabytes(doneBytes),
            totalMb: megabytes(totalBytes),
          }
          if (!started) bar.start(totalBytes, 0, shown)
          started = true
          bar.update(doneBytes, shown)
        }
        try {
          const manifest = await buildArtifact(checkpoint, options.out, {
            ...options,
            target: target === 'gpu' ? target : undefined,
            onProgress,
          })
          bar.stop()
          const bytes = manifest.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
          process.stdout.write(
            `${manifest.name} at ${manifest.precision}: ${megabytes(bytes)} MB in ${options.out}, from ${megabytes(manifest.source.weight_bytes)} MB of weights\n` +
              trialNote(manifest) +
              `Try it: npx glimpse caption --model ${shellWord(options.out)} <picture>\n`,
          )
        } finally {
          bar.stop()
        }
      },
    )
}

export function trialNote({ trial }: Manifest): string {
  if (!trial)
    return 'Not tried whether it says anything, for the memory that takes: ask it something, or build with --trial.\n'
  if (trial.texts.some((text) => text !== '')) return ''
  return 'It answers with nothing: of no use as it is.\n'
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}

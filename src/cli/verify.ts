// glimpse verify <artifact> [reference.safetensors ...]

import { dirname } from 'node:path'
import { SingleBar } from 'cli-progress'
import { Command, InvalidArgumentError } from 'commander'
import { openArtifact, verifyFiles } from '../artifact/open.ts'
import type { Precision } from '../quantize/recipes.ts'
import { openModel } from '../run/model.ts'
import { readReference } from '../verify/reference.ts'
import { type Comparison, compare, type FloatsResult, holds, type IdsResult } from '../verify/verify.ts'

/** fp32: float32 sums in another order differ by about 1e-6. int8 and int4: bounds of the error on random weights. */
const TOLERANCE: Record<Precision, number> = { fp32: 1e-4, int8: 0.05, int4: 0.35 }

const HELP = `
A reference is a file of what transformers computed for one picture and one prompt, recorded with reference/record.py. Each
stage gets the output of the stage before it, as for a caption. It passes, and exits with 0, if the relative error of each
stage is at most the tolerance (${Object.entries(TOLERANCE)
  .map((entry) => entry.join(' '))
  .join(', ')}) and the ids are equal; the ids of answers
only at fp32. A small model with random weights can exceed the tolerance of int8 or int4 without a fault; --tolerance sets
another one.

Examples:
  $ npx glimpse verify ./blip2-int4
  All checksums match the manifest.
  $ python reference/record.py ./blip2-opt-2.7b --picture demo.jpg --out demo.safetensors
  $ npx glimpse build ./blip2-opt-2.7b --out ./blip2 --precision fp32
  $ npx glimpse verify ./blip2 demo.safetensors
`

export function verifyCommand(): Command {
  return new Command('verify')
    .description('compares an artifact with its checksums and with transformers')
    .argument('<artifact>', 'folder that `glimpse build` made')
    .argument('[references...]', 'files that reference/record.py wrote (default: compare only the checksums)')
    .option(
      '--pictures <folder>',
      "the references' pictures (default: each file's folder); if absent, its pixels",
    )
    .option('--tolerance <error>', 'largest relative error of a stage', (text) => {
      const value = Number(text)
      if (!(value > 0)) throw new InvalidArgumentError('Expected a number above 0.')
      return value
    })
    .option('--json', 'one line of JSON', false)
    .addHelpText('after', HELP)
    .action(
      async (
        artifact: string,
        files: string[],
        options: { pictures?: string; tolerance?: number; json: boolean },
      ) => {
        await verifyFiles(artifact, await openArtifact(artifact))
        if (files.length === 0) return void process.stdout.write('All checksums match the manifest.\n')
        const references = await Promise.all(files.map(readReference))
        const model = await openModel(artifact)
        const bar = new SingleBar({ format: 'files {bar} {value} of {total}', stream: process.stderr })
        try {
          bar.start(references.length, 0)
          const folderOf = ({ path }: { path: string }) => options.pictures ?? dirname(path)
          const result = await compare(model, references, folderOf, () => bar.increment())
          bar.stop()
          const { precision } = model.manifest
          const tolerance = options.tolerance ?? TOLERANCE[precision]
          const isWithin = (stage: FloatsResult | IdsResult) => holds(stage, tolerance, precision)
          const passed = result.stages.every(isWithin)
          process.stdout.write(
            options.json ? json(result, tolerance, passed) : table(result, isWithin, passed),
          )
          if (!passed) process.exitCode = 1
        } finally {
          bar.stop()
          await model.close()
        }
      },
    )
}

/** `tokens` is the row of the answers' ids. */
function json({ stages, missingPictures }: Comparison, tolerance: number, passed: boolean): string {
  const answers = stages.find((result) => 'equal' in result && result.stage === 'token_ids') as
    | IdsResult
    | undefined
  const { files: compared, equal, differing } = answers ?? { files: 0, equal: 0, differing: [] }
  const tokens = { compared, equal, differing }
  return `${JSON.stringify({ holds: passed, tolerance, stages, tokens, missingPictures })}\n`
}

function table(
  { stages, missingPictures }: Comparison,
  isWithin: (stage: FloatsResult | IdsResult) => boolean,
  passed: boolean,
): string {
  const row = ([stage, ...cells]: string[]) =>
    `${stage!.padEnd(14)}${cells.map((cell) => cell.padStart(11)).join('')}\n`
  const lines = stages.map((result) => {
    const within = isWithin(result) ? 'yes' : 'no'
    if ('equal' in result)
      return row([result.stage, String(result.files), '', '', `${result.equal} equal`, within])
    const { stage, files, values, maxAbsoluteError, relativeError } = result
    const errors = [maxAbsoluteError, relativeError].map((error) => error.toExponential(1))
    return row([stage, String(files), String(values), ...errors, within])
  })
  const differing = stages.flatMap((result) =>
    'equal' in result
      ? result.differing.map(
          ({ file, expected, got }) =>
            `  ${result.stage} of ${file}\n    expected ${JSON.stringify(expected)}\n    got      ${JSON.stringify(got)}\n`,
        )
      : [],
  )
  const missing = missingPictures.map(
    (name) =>
      `  ${name} was not found: its recorded pixels were used. --pictures sets the pictures' folder.\n`,
  )
  const head = row(['stage', 'files', 'values', 'max abs', 'relative', 'within'])
  return [head, ...lines, ...differing, ...missing, passed ? 'Passed.\n' : 'Failed.\n'].join('')
}

// glimpse verify <artifact> [reference.safetensors]

import { dirname } from 'node:path'
import { SingleBar } from 'cli-progress'
import { Command, InvalidArgumentError } from 'commander'
import { openArtifact, verifyFiles } from '../artifact/open.ts'
import type { Precision } from '../quantize/recipes.ts'
import { openModel } from '../run/model.ts'
import { readReference } from '../verify/reference.ts'
import { type Comparison, compare } from '../verify/verify.ts'

/** fp32: float32 sums in another order differ by about 1e-6. int8 and int4: bounds of the error on random weights. */
export const TOLERANCE: Record<Precision, number> = { fp32: 1e-4, int8: 0.05, int4: 0.35 }

const HELP = `
The reference is a file of transformers' results, recorded with reference/record.py. Each stage gets the output of the
stage before it, as for a caption. It passes, and exits with 0, if the relative error of each stage is at most the
tolerance (${Object.entries(TOLERANCE)
  .map((entry) => entry.join(' '))
  .join(', ')}) and, at fp32, all tokens are equal. A small model with random weights
can exceed the tolerance of int8 or int4 without a fault; --tolerance sets another one.

Examples:
  $ npx glimpse verify ./blip2-int4
  All checksums match the manifest.
  $ python reference/record.py ./blip2-opt-2.7b --pictures demo.jpg --prompts "" --out demo.safetensors
  $ npx glimpse build ./blip2-opt-2.7b --out ./blip2 --precision fp32
  $ npx glimpse verify ./blip2 demo.safetensors --pictures .
`

export function verifyCommand(): Command {
  return new Command('verify')
    .description('compares an artifact with its checksums and with transformers')
    .argument('<artifact>', 'folder that `glimpse build` made')
    .argument('[reference]', 'file that reference/record.py wrote (default: compare only the checksums)')
    .option('--pictures <folder>', "the reference's pictures (default: its folder); if absent, its pixels")
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
        file: string | undefined,
        options: { pictures?: string; tolerance?: number; json: boolean },
      ) => {
        await verifyFiles(artifact, await openArtifact(artifact))
        if (file === undefined) return void process.stdout.write('All checksums match the manifest.\n')
        const reference = await readReference(file)
        const model = await openModel(artifact)
        const bar = new SingleBar({ format: 'cases {bar} {value} of {total}', stream: process.stderr })
        try {
          bar.start(reference.description.token_ids.length + reference.description.batches.length, 0)
          const result = await compare(model, reference, options.pictures ?? dirname(file), (done) =>
            bar.update(done),
          )
          bar.stop()
          const { precision } = model.manifest
          const tolerance = options.tolerance ?? TOLERANCE[precision]
          const holds =
            result.stages.every(({ relativeError }) => relativeError <= tolerance) &&
            (precision !== 'fp32' || result.tokens.equal === result.tokens.compared)
          if (options.json) process.stdout.write(`${JSON.stringify({ holds, tolerance, ...result })}\n`)
          else process.stdout.write(table(result, tolerance, holds))
          if (!holds) process.exitCode = 1
        } finally {
          bar.stop()
          await model.close()
        }
      },
    )
}

function table({ stages, tokens }: Comparison, tolerance: number, holds: boolean): string {
  const row = ([stage, ...cells]: string[]) =>
    `${stage!.padEnd(14)}${cells.map((cell) => cell.padStart(14)).join('')}\n`
  return [
    row(['stage', 'values', 'max abs', 'relative', 'within']),
    ...stages.map(({ stage, values, maxAbsoluteError, relativeError }) =>
      row([
        stage,
        String(values),
        maxAbsoluteError.toExponential(1),
        relativeError.toExponential(1),
        relativeError <= tolerance ? 'yes' : `no: ${tolerance}`,
      ]),
    ),
    `tokens        ${tokens.equal} of ${tokens.compared} cases equal\n`,
    ...tokens.differing.map(
      ({ case: name, expected, got }) =>
        `  ${name}\n    expected ${JSON.stringify(expected)}\n    got      ${JSON.stringify(got)}\n`,
    ),
    holds ? 'Passed.\n' : 'Failed.\n',
  ].join('')
}

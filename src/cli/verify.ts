// glimpse verify <artifact> [reference.safetensors ...]

import { dirname, join } from 'node:path'
import { SingleBar } from 'cli-progress'
import { Command, InvalidArgumentError } from 'commander'
import { openArtifact, verifyFiles } from '../artifact/open.ts'
import type { Precision } from '../quantize/recipes.ts'
import type { Model } from '../run/model.ts'
import { type Reference, rowsOf } from '../verify/reference.ts'
import type { Comparison, FloatsResult, IdsResult } from '../verify/verify.ts'

/** fp32: float32 sums in another order differ by about 1e-6. int8 and int4: bounds of the error on random weights. */
export const TOLERANCE: Record<Precision, number> = { fp32: 1e-4, int8: 0.05, int4: 0.35 }

const TOLERANCES = Object.entries(TOLERANCE).map((entry) => entry.join(' '))

const HELP = `
A reference is a file of what transformers computed for one picture and one
prompt, recorded with reference/record.py. Each stage gets the output of the
stage before it, as for a caption. It passes, and exits with 0, if the relative
error of each stage is at most the tolerance (${TOLERANCES.join(', ')})
and the ids are equal; the ids of answers only at fp32. A small model with
random weights can exceed the tolerance of int8 or int4 without a fault;
--tolerance sets another one.

--published compares with the answers that transformers' own tests expect of
Salesforce's weights. It fetches their picture, once, and prints the expected
answers beside those of the artifact.

Examples:
  $ npx glimpse verify ./blip2-int4
  All checksums match the manifest.
  $ python reference/record.py ./opt --picture demo.jpg --out demo.safetensors
  $ npx glimpse build ./opt --out ./blip2 --precision fp32
  $ npx glimpse verify ./blip2 demo.safetensors
  $ npx glimpse pull Salesforce/blip2-opt-2.7b --out ./blip2 --precision fp32
  $ npx glimpse verify ./blip2 --published
`

interface Flags {
  pictures?: string
  published?: boolean
  tolerance?: number
  json: boolean
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description('compares an artifact with its checksums and with transformers')
    .argument('<artifact>', 'folder that `glimpse build` made')
    .argument('[references...]', 'files that reference/record.py wrote (default: compare only the checksums)')
    .option(
      '--pictures <folder>',
      "the references' pictures (default: each file's folder); if absent, its pixels",
    )
    .option('--published', 'compare with published answers, and fetch their picture')
    .option('--tolerance <error>', 'largest relative error of a stage', (text) => {
      const value = Number(text)
      if (!(value > 0)) throw new InvalidArgumentError('Expected a number above 0.')
      return value
    })
    .option('--json', 'one line of JSON', false)
    .addHelpText('after', HELP)
    .action(async (artifact: string, files: string[], options: Flags) => {
      const manifest = await openArtifact(artifact)
      await verifyFiles(artifact, manifest)
      if (files.length === 0 && !options.published)
        return void process.stdout.write('All checksums match the manifest.\n')
      // Imported on use, so that --help is quick.
      const [{ openModel }, { readReference }, { compare, holds }] = await Promise.all([
        import('../run/model.ts'),
        import('../verify/reference.ts'),
        import('../verify/verify.ts'),
      ])
      const named = await Promise.all(files.map(readReference))
      const { references, pictures = options.pictures } = options.published
        ? await published(named, manifest.source.checkpoint, options.pictures)
        : { references: named }
      const model = await openModel(artifact)
      const bar = new SingleBar({ format: 'files {bar} {value} of {total}', stream: process.stderr })
      try {
        bar.start(references.length, 0)
        const folderOf = ({ path }: { path: string }) => pictures ?? dirname(path)
        const result = await compare(model, references, folderOf, () => bar.increment())
        bar.stop()
        const { precision } = model.manifest
        const tolerance = options.tolerance ?? TOLERANCE[precision]
        const isWithin = (stage: FloatsResult | IdsResult) => holds(stage, tolerance, precision)
        const passed = result.stages.every(isWithin)
        const answers = options.published ? answersOf(references, result, model) : ''
        process.stdout.write(
          options.json ? json(result, tolerance, passed) : `${answers}${table(result, isWithin, passed)}`,
        )
        if (!passed) process.exitCode = 1
      } finally {
        bar.stop()
        await model.close()
      }
    })
}

/** Of a stage's ids that differ, so many are printed. */
const MAX_DIFFERING = 3

/** The references that are named, else the published ones, and the folder of their pictures, which are fetched. */
async function published(named: Reference[], checkpoint: string, folder?: string) {
  const [{ fetchPictures, publishedReferences }, { loadConfig }, { hubToken }] = await Promise.all([
    import('../verify/published.ts'),
    import('../app/config.ts'),
    import('../app/hub-models.ts'),
  ])
  const references = named.length > 0 ? named : await publishedReferences(checkpoint)
  const config = await loadConfig()
  const pictures = folder ?? join(config.cacheFolder, 'published')
  const hub = { endpoint: config.hubEndpoint, token: await hubToken(config) }
  await fetchPictures(hub, references, pictures)
  return { references, pictures }
}

/** The expected answer of each reference and the model's. */
function answersOf(references: readonly Reference[], { stages }: Comparison, { tokenizer }: Model): string {
  const differing = stages.flatMap((result) =>
    'equal' in result && result.stage === 'token_ids' ? result.differing : [],
  )
  return references
    .filter(({ tensors }) => tensors.has('token_ids'))
    .map(({ path, image, prompt, tensors }) => {
      const [expected = []] = rowsOf(tensors.get('token_ids')!)
      const [got = expected] = differing.find(({ file }) => file === path)?.got ?? []
      return [
        `${image}  ${prompt || 'a caption'}`,
        `  expected  ${JSON.stringify(tokenizer.decode(expected))}`,
        `  got       ${JSON.stringify(tokenizer.decode(got))}\n\n`,
      ].join('\n')
    })
    .join('')
}

/** `tokens` is the row of the answers' ids. */
function json({ stages, missingPictures }: Comparison, tolerance: number, passed: boolean): string {
  const answers = stages.find((result) => 'equal' in result && result.stage === 'token_ids') as
    | IdsResult
    | undefined
  const { files: compared, equal, differing } = answers ?? { files: 0, equal: 0, differing: [] }
  const tokens = { compared, equal, differing: differing.slice(0, MAX_DIFFERING) }
  const shown = stages.map((result) =>
    'equal' in result ? { ...result, differing: result.differing.slice(0, MAX_DIFFERING) } : result,
  )
  return `${JSON.stringify({ holds: passed, tolerance, stages: shown, tokens, missingPictures })}\n`
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
      ? result.differing
          .slice(0, MAX_DIFFERING)
          .map(
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

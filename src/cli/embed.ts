// glimpse embed <images or texts...> --out x.npy

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { Command, InvalidArgumentError, Option } from 'commander'
import { type Engine, startEngine } from '../engine/engine.ts'
import { type FeatureFields, KINDS, type Kind } from '../engine/tasks/features.ts'
import { isGlimpseError, RequestError } from '../errors.ts'
import { addModelFlags, type ModelFlags, modelFor, wholeNumber } from './flags.ts'
import { addTextProcessing } from './match.ts'
import { readPicture } from './reply.ts'
import { FORMATS, type Format, openVectorFile, type Row } from './vector-file.ts'

const HELP = `
An argument that is a file is a picture, any other a text; all are of one sort.
Rows of the file are in their order, and <file>.inputs.jsonl says which input
each is of. A picture that cannot be read is listed there, and its numbers are
NaN.

Kinds, by their names in LAVIS (P patches, Q queries, T tokens):
  image_embeds_proj  [Q, E]  of a picture, to compare with texts: default for
                             pictures where the model matches
  image_embeds       [Q, D]  of a picture: the Q-Former's output
  vision             [P, D]  of a picture: the vision tower's output
  text_embeds_proj   [T, E]  of a text, to compare with pictures: default for
                             texts where the model matches
  text_embeds        [T, D]  of a text: the Q-Former's output
  text_features      [T, D]  of a text: the language model's (OPT, T5)

How alike a picture and a text are is the largest product of a row of the
picture with the FIRST row of the text, so texts are stored as that row unless
--pool says otherwise. --pool mean gives one vector of length 1 for each input,
for programs that take one: its products are not the model's score.

  .npy          numpy.load
  .safetensors  one tensor with the name of the kind
  .jsonl        a line for each input: {"input", "kind", "shape", "data"}; of
                any shapes

The file grows while it is written (<file>.partial). The same command continues
after it was stopped.

Examples:
  $ npx glimpse embed photos/*.jpg --out photos.npy --model ./blip2-itm
  $ npx glimpse embed "a dog" "a red car" --out texts.npy --model ./blip2-itm
  $ npx glimpse embed --list paths.txt --out features.safetensors
`

const POOLS = ['none', 'first', 'mean'] as const
type Pool = (typeof POOLS)[number]

interface Flags extends ModelFlags {
  out: string
  kind?: Kind
  pool?: Pool
  list?: string
  concurrency: number
  textProcessing: NonNullable<FeatureFields['text_processing']>
}

export function embedCommand(): Command {
  const command = new Command('embed')
    .description('writes features of pictures or texts into a file')
    .argument('[inputs...]', 'picture files, or texts')
    .requiredOption(
      '-o, --out <file>',
      `file that ends in ${FORMATS.map((name) => `.${name}`).join(', ')}`,
      outOf,
    )
    .addOption(
      new Option('--kind <name>', 'which features').choices(
        KINDS.filter((kind) => kind !== 'multimodal_embeds'),
      ),
    )
    .addOption(
      new Option(
        '--pool <rows>',
        'all rows, the first, or their mean (default: none for pictures, first for texts)',
      ).choices(POOLS),
    )
    .option('--list <file>', 'a file with an input on each line; - is standard input')
    .option('--concurrency <count>', 'inputs that are sent at once', wholeNumber(1, 256), 16)
    .addHelpText('after', HELP)
  addTextProcessing(command)
  addModelFlags(command)
  return command.action(async (named: string[], flags: Flags) => {
    const inputs = [...named, ...(flags.list === undefined ? [] : await linesOf(flags.list))]
    const arePictures = sortOf(inputs)
    const engine = await startEngine(await modelFor(flags))
    try {
      await embedAll(engine, inputs, arePictures, flags)
    } finally {
      await engine.close()
    }
  })
}

async function embedAll(engine: Engine, inputs: readonly string[], arePictures: boolean, flags: Flags) {
  const { kind = await defaultKind(engine, arePictures), textProcessing: text_processing } = flags
  const pool = flags.pool ?? (arePictures ? 'none' : 'first')
  const format = extname(flags.out).slice(1) as Format
  const model = `${engine.model.name} ${text_processing} ${pool}`
  const file = await openVectorFile(flags.out, { format, kind, model, inputs })
  const rowOf = async (input: string): Promise<Row | { error: string }> => {
    try {
      const own = arePictures ? { image: await readPicture(input) } : { text: input }
      const request = { task: 'features', kinds: [kind], encoding_format: 'base64', text_processing } as const
      const { features } = await engine.answer<'features'>({ ...request, ...own })
      const { shape, data } = features[kind]!
      const bytes = new Uint8Array(Buffer.from(data as string, 'base64'))
      return pooled({ shape, data: new Float32Array(bytes.buffer) }, pool)
    } catch (error) {
      if (!isGlimpseError(error) || error.kind !== 'request' || error.code === 'no_task') throw error
      process.stderr.write(`glimpse: ${input}: ${error.message}\n`)
      return { error: error.code }
    }
  }
  try {
    if (file.done > 0) process.stderr.write(`Continues after ${file.done} of ${inputs.length}.\n`)
    let failed = 0
    const waiting: Promise<Row | { error: string }>[] = []
    let next = file.done
    while (file.done < inputs.length) {
      while (waiting.length < flags.concurrency && next < inputs.length) {
        const row = rowOf(inputs[next++]!)
        row.catch(() => {}) // It surfaces where the row is awaited.
        waiting.push(row)
      }
      const row = await waiting.shift()!
      if ('error' in row) failed++
      await file.add(row)
    }
    await file.finish()
    process.stderr.write(`${inputs.length - failed} of ${inputs.length} in ${flags.out}: ${kind}\n`)
    if (failed > 0) process.exitCode = 1
  } finally {
    await file.close()
  }
}

/** What the model has: asked for with the first kind, and the second if it has none. */
async function defaultKind(engine: Engine, arePictures: boolean): Promise<Kind> {
  const [first, second]: Kind[] = arePictures
    ? ['image_embeds_proj', 'image_embeds']
    : ['text_embeds_proj', 'text_features']
  return engine.model.vectors ? first! : second!
}

function pooled({ shape, data }: Row, pool: Pool): Row {
  const [rows = 0, width = 0] = shape
  if (pool === 'none') return { shape, data }
  if (pool === 'first') return { shape: [width], data: data.slice(0, width) }
  const mean = new Float32Array(width)
  for (let i = 0; i < data.length; i++) mean[i % width]! += data[i]! / rows
  const length = Math.hypot(...mean) || 1
  return { shape: [width], data: mean.map((value) => value / length) }
}

/** Whether all are pictures; false if all are texts. */
function sortOf(inputs: readonly string[]): boolean {
  if (inputs.length === 0)
    throw new RequestError('no_picture', 'Expected pictures or texts, or --list, but got none.')
  const isFile = (input: string) => existsSync(input)
  const pictures = inputs.filter(isFile).length
  if (pictures === inputs.length) return true
  const missing = inputs.find(
    (input) => !isFile(input) && (pictures > 0 || /^\S*([\\/]|\.\w{3,4}$)\S*$/.test(input)),
  )
  if (missing === undefined) return false
  const message = `Expected ${JSON.stringify(missing.slice(0, 80))} to be a picture's file but there is none. Correct the path; give texts in a command of their own.`
  throw new RequestError('no_picture', message)
}

async function linesOf(path: string): Promise<string[]> {
  const text = await (path === '-' ? textOf(process.stdin) : readFile(path, 'utf8')).catch(
    (cause: unknown) => {
      throw new RequestError('no_picture', `Expected a list of inputs at ${path} but it cannot be read.`, {
        cause,
      })
    },
  )
  return text.split(/\r?\n/).filter((line) => line !== '')
}

function outOf(path: string): string {
  if (FORMATS.some((name) => path.endsWith(`.${name}`))) return path
  throw new InvalidArgumentError(
    `Expected a name that ends in ${FORMATS.map((name) => `.${name}`).join(', ')}.`,
  )
}

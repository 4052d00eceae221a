// Flags that several commands share: the model to run, and how tokens are chosen.

import { type Command, InvalidArgumentError, Option } from 'commander'
import { z } from 'zod'
import type { ModelChoice } from '../app/local-model.ts'
import { readConfig, SETTINGS } from '../config.ts'
import type { startEngine } from '../engine/engine.ts'
import { type GenerationSettings, generationSettings } from '../generation-settings.ts'
import { PRECISIONS } from '../quantize/recipes.ts'
import { integer, type Setting } from '../setting.ts'

/** Adds a flag for each generation setting: `num_beams` is --num-beams. */
export function addGenerationFlags(command: Command): Command {
  for (const [name, schema] of Object.entries(generationSettings.shape)) {
    const flag = `--${name.replaceAll('_', '-')}`
    const isSwitch = schema instanceof z.ZodBoolean
    const option = new Option(isSwitch ? flag : `${flag} <value>`, schema.description)
    option.helpGroup('Choosing tokens (as in transformers):')
    if (!isSwitch) {
      option.argParser((text: string) => {
        const { success, data } = schema.safeParse(parseValue(text))
        if (success) return data
        throw new InvalidArgumentError(`Expected ${expectedBy(z.toJSONSchema(schema))}.`)
      })
    }
    command.addOption(option)
  }
  return command
}

/** The values that a schema takes, in words. */
function expectedBy({ type, anyOf, const: only, minimum, maximum }: z.core.JSONSchema.BaseSchema): string {
  if (anyOf) return anyOf.map(expectedBy).join(', or ')
  if (only !== undefined) return `${only}`
  if (type === 'boolean') return 'true or false'
  if (type === 'array') return 'several of them, as in 2,50118'
  if (type !== 'integer' && type !== 'number') return type === 'null' ? 'null' : 'some text'
  const kind = type === 'integer' ? 'a whole number' : 'a number'
  const isBounded = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER
  return isBounded ? `${kind} from ${minimum} to ${maximum}` : `${kind} of at least ${minimum}`
}

/** The generation settings among a command's options. */
export function settingsOf(options: Record<string, unknown>): Partial<GenerationSettings> {
  const camelCase = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
  const names = Object.keys(generationSettings.shape)
  return Object.fromEntries(
    names.map((name) => [name, options[camelCase(name)]]).filter(([, value]) => value !== undefined),
  )
}

export function addModelFlags(command: Command): Command {
  return command
    .option(
      '-m, --model <name>',
      'folder that `glimpse build` made, s3://bucket/prefix, or owner/name on the hub (default: the embedded model)',
    )
    .option('--revision <name>', 'of a model on the hub: branch, tag or commit (default: main)')
    .addOption(
      new Option(
        '--precision <name>',
        'of a model on the hub (default: the one that is kept, else one that fits this machine)',
      ).choices(PRECISIONS),
    )
    .option(
      '--threads <count>',
      'threads for each operator (default: one per core)',
      parserOf(SETTINGS.threads),
    )
}

export type ModelFlags = ModelChoice

type StartOptions = Parameters<typeof startEngine>[0]

/** How to start the model that the flags name; a flag that is absent has its value from the environment. */
export async function modelFor(
  { model, revision, precision, threads }: ModelFlags,
  config = readConfig(),
): Promise<StartOptions> {
  // Imported on use, so that --help is quick.
  const [{ localModel }, { log }, { confirmOnTerminal }, { withProgress }] = await Promise.all([
    import('../app/local-model.ts'),
    import('../observe/log.ts'),
    import('./confirm.ts'),
    import('./progress.ts'),
  ])
  let isWaiting = false
  return await localModel(
    config,
    { model, revision, precision, threads },
    {
      confirm: confirmOnTerminal,
      whileFetching: (work) => withProgress('model_fetching', work),
      onWait() {
        if (!isWaiting) log.info('model_awaited', { why: 'another process is fetching it' })
        isWaiting = true
      },
      onPreparing: () => process.stderr.write('Prepacking the weights for this processor, once...\n'),
    },
  )
}

export interface AddressFlags {
  host?: string
  port?: number
}

export function addAddressFlags(command: Command): Command {
  return command
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option(
      '--port <number>',
      'port to listen on; 0 takes a free one (default: 8080)',
      parserOf(SETTINGS.port),
    )
}

/** Reads a flag as the setting of the same meaning is read. */
export function parserOf<T>({ parse, expected }: Pick<Setting<T>, 'parse' | 'expected'>) {
  return (text: string): T => {
    const value = parse(text)
    if (value === undefined) throw new InvalidArgumentError(`Expected ${expected}.`)
    return value
  }
}

export function wholeNumber(min: number, max: number): (text: string) => number {
  return parserOf(integer('', min, min, max, { description: '' }))
}

/** `true`, `2`, `0.9`, `never`, or `2,50118` for several ids. */
function parseValue(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true'
  if (/^\d+(,\d+)+$/.test(text)) return text.split(',').map(Number)
  const number = Number(text)
  return text.trim() === '' || Number.isNaN(number) ? text : number
}

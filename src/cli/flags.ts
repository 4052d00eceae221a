// Flags that several commands share: which model, and how tokens are chosen.

import { join } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { z } from 'zod'
import { modelProcessOptions } from '../app/engine.ts'
import { embeddedArtifact } from '../builder/embedded.ts'
import { readConfig, SETTINGS } from '../config.ts'
import type { startEngine } from '../engine/engine.ts'
import { log } from '../observe/log.ts'
import { type GenerationSettings, generationSettings } from '../run/settings.ts'
import type { Setting } from '../setting.ts'
import { transferBar } from './transfer.ts'

/** Every generation setting as a flag: `num_beams` is --num-beams. */
export function addGenerationFlags(command: Command): Command {
  for (const [name, schema] of Object.entries(generationSettings.shape)) {
    const flag = `--${name.replaceAll('_', '-')}`
    const isSwitch = schema instanceof z.ZodBoolean
    const option = new Option(isSwitch ? flag : `${flag} <value>`, schema.description).helpGroup(
      'Choosing tokens (as in transformers):',
    )
    if (!isSwitch) {
      option.argParser((text: string) => {
        const parsed = schema.safeParse(typed(text))
        if (!parsed.success) throw new InvalidArgumentError(parsed.error.issues[0]!.message)
        return parsed.data
      })
    }
    command.addOption(option)
  }
  return command
}

/** What of a command's options are generation settings. */
export function settingsOf(options: Record<string, unknown>): Partial<GenerationSettings> {
  const names = Object.keys(generationSettings.shape)
  const camel = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
  return Object.fromEntries(
    names.map((name) => [name, options[camel(name)]]).filter(([, value]) => value !== undefined),
  )
}

export function addModelFlags(command: Command): Command {
  return command
    .option(
      '-m, --model <folder>',
      'artifact to run, as `glimpse build` made it, or s3://bucket/prefix (default: the embedded model)',
    )
    .option(
      '--threads <count>',
      'threads of one operator (default: the cores there are)',
      parserOf(SETTINGS.threads),
    )
}

export interface ModelFlags {
  model?: string
  threads?: number
}

/** The artifact and threads that flags, or else the environment, ask for. */
export async function modelFor(
  { model, threads }: ModelFlags,
  config = readConfig(),
): Promise<Parameters<typeof startEngine>[0]> {
  return {
    ...modelProcessOptions({ ...config, threads: threads ?? config.threads }),
    artifact: await artifactAt(model ?? config.model, config.cacheFolder),
    prepack: { folder: join(config.cacheFolder, 'prepacked'), fromBytes: config.prepackFromMb * 1e6 },
    onPreparing: () => process.stderr.write('Laying the model out for this processor, once...\n'),
  }
}

/** The folder to open: of the embedded model, of one that is fetched into the cache, or the one that is named. */
async function artifactAt(location: string, cacheFolder: string): Promise<string> {
  if (location === '') return await embeddedArtifact(cacheFolder)
  if (!location.startsWith('s3://')) return location
  // Only here: the SDK takes a while to load.
  const { fetchArtifact } = await import('../transfer/fetch.ts')
  const bar = transferBar('model_fetching')
  const stop = new AbortController()
  const interrupt = () => stop.abort()
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  try {
    return await fetchArtifact(location, {
      cacheFolder,
      signal: stop.signal,
      onProgress: bar.show,
      onWait: once(() => log.info('model_awaited', { why: 'another process is fetching it' })),
    })
  } finally {
    bar.stop()
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
}

function once(work: () => void): () => void {
  let isDone = false
  return () => {
    if (!isDone) work()
    isDone = true
  }
}

/** A flag that means the same as a setting takes the same values. */
export function parserOf<T>({ parse, expected }: Setting<T>): (text: string) => T {
  return (text) => {
    const value = parse(text)
    if (value === undefined) throw new InvalidArgumentError(`Expected ${expected}.`)
    return value
  }
}

/** A count. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (value >= min && value <= max) return value
    throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`)
  }
}

function typed(text: string): unknown {
  if (text === 'true' || text === 'false') return text === 'true'
  if (/^\d+(,\d+)+$/.test(text)) return text.split(',').map(Number)
  const number = Number(text)
  return text.trim() === '' || Number.isNaN(number) ? text : number
}

// glimpse bench: a model's speed on this machine, and its ratio to what the processor and the memory allow.

import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import type { Benchmark, Stage } from '../bench/measure.ts'
import { megabytes } from '../units.ts'
import { addModelFlags, type ModelFlags, modelFor, wholeNumber } from './flags.ts'

const SAMPLE = fileURLToPath(new URL('../../models/demo/guitars.png', import.meta.url))

const HELP = `
Times are medians. "times the limit" is a stage's time divided by the least that
this machine needs: its multiplications at the speed of one large product, or
its weights at the memory's bandwidth, whichever takes longer. 1x is the limit.
Each round measures both, because on a shared machine they change with time;
compare times of the same run only.

Examples:
  $ npx glimpse bench
  glimpse-pico at fp32, 2 threads, medians of 5 rounds
    ...
    token                        1.5 ms  1.4x the limit, 664.5 tokens per second
  $ npx glimpse bench --model ./blip2-int4 --rounds 10
  $ npx glimpse bench --model ./blip2-int4 --json photo.jpg
`

export function benchCommand(): Command {
  const command = new Command('bench')
    .description('measures stages, tokens per second, opening time and memory')
    .argument('[picture]', 'a picture file', SAMPLE)
    .option('--rounds <count>', 'rounds to measure, after one round of warm-up', wholeNumber(1, 1000), 5)
    .option('--tokens <count>', 'tokens in each answer', wholeNumber(2, 1000), 10)
    .option('--json', 'one line of JSON', false)
    .addHelpText('after', HELP)
  addModelFlags(command)
  return command.action(
    async (picture: string, options: ModelFlags & { rounds: number; tokens: number; json: boolean }) => {
      // Imported on use, so that --help is quick.
      const [{ measure }, { log }, { readPicture }] = await Promise.all([
        import('../bench/measure.ts'),
        import('../observe/log.ts'),
        import('./reply.ts'),
      ])
      const { artifact, threads = availableParallelism(), prepack } = await modelFor(options)
      const onStep = (what: string) => {
        if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what}`)
      }
      const result = await measure(artifact, await readPicture(picture), {
        ...options,
        threads,
        prepack: prepack && { ...prepack, onFailed: (why) => log.warn('model_not_laid_out', why) },
        onStep,
      })
      onStep('')
      process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : table(result))
    },
  )
}

function table(result: Benchmark): string {
  const { ms, opening, prefill_positions, tokens_per_second } = result
  const row = (name: string, value: string, rest = '') =>
    `  ${name.padEnd(22)} ${value.padStart(12)}  ${rest}`
  const time = (value: number) => `${value.toFixed(1)} ms`
  const isEncoderDecoder = ms.encoder !== undefined
  const about: Partial<Record<Stage, string>> = {
    encoder: `${prefill_positions} positions`,
    prefill: `${prefill_positions} positions`,
    follow_up: 'next question about the picture',
    matching: `picture and text, ${prefill_positions} positions`,
    token: `${tokens_per_second?.toFixed(1)} tokens per second`,
  }
  const stageRow = ([stage, value]: [Stage, number]) => {
    const name = stage === 'token' && isEncoderDecoder ? 'decoder step' : stage.replace('_', '-')
    const times = result.times_the_limit[stage]
    const parts = [times === undefined ? [] : `${times.toFixed(2)}x the limit`, about[stage] ?? []]
    return row(name, time(value), parts.flat().join(', '))
  }
  const total = (name: string, ms: number | undefined, rest: string) =>
    ms === undefined ? [] : [row(name, time(ms), rest)]
  const bandwidth = `${(result.memory_bytes_per_second / 1e9).toFixed(2)} GB per second`
  const memory = (bytes: number | null) => (bytes === null ? 'unknown' : megabytes(bytes))
  return [
    `${result.model} at ${result.precision}, ${result.threads} threads, medians of ${result.rounds} rounds`,
    row('opening', time(opening.ms), `${memory(opening.anonymous_bytes)} of anonymous memory`),
    ...(Object.entries(ms) as [Stage, number][]).map(stageRow),
    result.bytes_per_token === undefined
      ? row('memory bandwidth', bandwidth)
      : row('weights per token', megabytes(result.bytes_per_token), `memory bandwidth ${bandwidth}`),
    row(
      'one large product',
      `${(result.operations_per_second / 1e9).toFixed(0)} GOP/s`,
      result.precision === 'fp32' ? 'in float32' : 'of 8-bit integers',
    ),
    ...total('first caption', result.caption_ms, `${result.tokens} tokens`),
    ...total('warm caption', result.warm_caption_ms, `${result.tokens} tokens, of a picture seen before`),
    ...total('next question', result.question_ms, `${result.tokens} tokens`),
    row('anonymous memory', memory(result.anonymous_bytes), 'after the rounds'),
    '',
  ].join('\n')
}

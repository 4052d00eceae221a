// glimpse pull <owner/name> --out <folder>

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SingleBar } from 'cli-progress'
import { Command, Option } from 'commander'
import { loadConfig } from '../app/config.ts'
import { pull } from '../hub/pull.ts'
import { PRECISIONS, type Precision, TARGETS, type Target } from '../quantize/recipes.ts'
import { shellWord } from '../shell.ts'
import { megabytes, trialNote } from './build.ts'

const HELP = `
Fetches a checkpoint from a Hugging Face hub and builds it file by file as the weights arrive; the full-precision
files are not kept. Whatever breaks it off, the same command goes on from there. Every file is checked against the
hub's checksum.

Examples:
  $ npx glimpse pull Salesforce/blip2-opt-2.7b --out ./blip2-int4 --precision int4
  $ npx glimpse pull Salesforce/blip2-opt-2.7b --out ./blip2 --precision fp32 --keep ./blip2-opt-2.7b
  $ HF_TOKEN=... npx glimpse pull me/my-private-blip2 --out ./mine --revision v2
`

interface Flags {
  out: string
  precision: Precision
  for: Target
  revision: string
  endpoint?: string
  keep?: string
  name?: string
  trial?: boolean
}

export function pullCommand(): Command {
  return new Command('pull')
    .description('fetches a checkpoint from the hub and builds it as it arrives')
    .argument('<owner/name>', 'a BLIP-2 checkpoint with an OPT language model')
    .requiredOption('-o, --out <folder>', 'where the artifact goes')
    .addOption(
      new Option('-p, --precision <name>', 'how weights are stored').choices(PRECISIONS).default('int8'),
    )
    .addOption(new Option('--for <target>', 'what it is to run on').choices(TARGETS).default('cpu'))
    .option('--revision <name>', 'branch, tag or commit', 'main')
    .option('--endpoint <address>', 'a mirror of the hub (default: HF_ENDPOINT)')
    .option('--keep <folder>', 'where the full-precision files stay; otherwise none are left')
    .option('--name <name>', "the model's name in replies (default: the repository's)")
    .option('--trial', 'have it generate something at the end, also where that takes more than 1.2 GB')
    .option('--no-trial', 'do not, and take it even if it answers with nothing')
    .addHelpText('after', HELP)
    .action(async (name: string, flags: Flags) => {
      const config = await loadConfig()
      const stop = new AbortController()
      const interrupt = () => stop.abort()
      process.once('SIGINT', interrupt)
      process.once('SIGTERM', interrupt)
      const endpoint = flags.endpoint ?? config.hubEndpoint
      const hub = { endpoint, token: await tokenOf(config), signal: stop.signal }
      const progress = progressBar()
      try {
        const manifest = await pull(hub, name, flags.out, {
          ...flags,
          target: flags.for === 'gpu' ? flags.for : undefined,
          onProgress: progress.show,
        })
        progress.stop()
        const bytes = manifest.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
        process.stdout.write(
          `${name} (${manifest.source.commit?.slice(0, 7)}) at ${manifest.precision}: ${megabytes(bytes)} MB in ${flags.out}, from ${megabytes(manifest.source.weight_bytes)} MB of weights\n` +
            trialNote(manifest) +
            `Try it: npx glimpse caption --model ${shellWord(flags.out)} <picture>\n`,
        )
      } finally {
        progress.stop()
      }
    })
}

/** From the environment, or where huggingface_hub's login leaves it. */
async function tokenOf({
  hubToken,
  hubHome,
}: {
  hubToken: string
  hubHome: string
}): Promise<string | undefined> {
  if (hubToken !== '') return hubToken
  const file = await readFile(join(hubHome, 'token'), 'utf8').catch(() => '')
  return file.trim() || undefined
}

/** A bar where somebody looks, a line every tenth where nobody does. */
function progressBar() {
  const bar = new SingleBar({
    format:
      '{bar} {percentage}% | {arrivedMb} of {totalMb} MB | {rate} MB/s | {eta_formatted} left | built {built}%',
    stream: process.stderr,
    hideCursor: true,
    etaBuffer: 500,
  })
  let began: { at: number; arrived: number } | undefined
  let tenths = 0
  return {
    show({
      arrived,
      total,
      built,
      toBuild,
    }: {
      arrived: number
      total: number
      built: number
      toBuild: number
    }) {
      if (!began) {
        began = { at: performance.now(), arrived }
        if (process.stderr.isTTY)
          bar.start(total, arrived, { arrivedMb: '', totalMb: '', rate: '', built: 0 })
      }
      const seconds = (performance.now() - began.at) / 1000
      const shown = {
        arrivedMb: megabytes(arrived),
        totalMb: megabytes(total),
        rate: megabytes(seconds > 0 ? (arrived - began.arrived) / seconds : 0),
        built: toBuild > 0 ? Math.floor((100 * built) / toBuild) : 0,
      }
      if (process.stderr.isTTY) bar.update(arrived, shown)
      else if (Math.floor((10 * arrived) / total) > tenths) {
        tenths = Math.floor((10 * arrived) / total)
        process.stderr.write(
          `${10 * tenths}%: ${shown.arrivedMb} of ${shown.totalMb} MB, ${shown.rate} MB/s, built ${shown.built}%\n`,
        )
      }
    },
    stop: () => bar.stop(),
  }
}

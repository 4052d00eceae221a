// glimpse pull <owner/name> --out <folder>

import { Command } from 'commander'
import { addBuildFlags, type BuildFlags, optionsOf, summaryOf } from './build.ts'

const HELP = `
Downloads a checkpoint from a Hugging Face hub and builds it while the weights
arrive. The full-precision files are not kept unless --keep names a folder.
Every file is compared with the hub's checksum. After an interruption the same
command resumes. A private model needs HF_TOKEN, or the token that "hf auth
login" has saved.

Examples:
  $ npx glimpse pull Salesforce/blip2-opt-2.7b --out ./blip2-int4 -p int4
  $ npx glimpse pull Salesforce/blip2-opt-2.7b --out ./blip2 --keep ./original
  $ HF_TOKEN=hf_... npx glimpse pull me/private-blip2 --out ./mine --revision v2
  $ npx glimpse caption --model ./blip2-int4 photo.jpg
`

type Flags = BuildFlags & { revision: string; endpoint?: string; keep?: string }

export function pullCommand(): Command {
  const command = new Command('pull')
    .description('downloads a checkpoint from the hub and builds it while it arrives')
    .argument('<owner/name>', 'a BLIP-2 checkpoint')
    .option('--revision <name>', 'branch, tag or commit', 'main')
    .option('--endpoint <address>', 'a mirror of the hub (default: HF_ENDPOINT)')
    .option('--keep <folder>', 'folder for the full-precision files (default: they are not kept)')
  return addBuildFlags(command, "the repository's name")
    .addHelpText('after', HELP)
    .action(async (name: string, flags: Flags) => {
      // Imported on use, so that --help is quick.
      const [{ loadConfig }, { hubToken }, { pull }, { withProgress }] = await Promise.all([
        import('../app/config.ts'),
        import('../app/hub-models.ts'),
        import('../hub/pull.ts'),
        import('./progress.ts'),
      ])
      const config = await loadConfig()
      const token = await hubToken(config)
      const { endpoint = config.hubEndpoint, revision, keep, out } = flags
      const manifest = await withProgress('model_pulling', ({ signal, onProgress }) =>
        pull({ endpoint, token, signal }, name, out, {
          ...optionsOf(flags),
          revision,
          keep,
          onProgress({ arrived, total, built, toBuild }) {
            const percent = toBuild > 0 ? Math.floor((100 * built) / toBuild) : 0
            onProgress({ doneBytes: arrived, totalBytes: total, note: ` | built ${percent}%` })
          },
        }),
      )
      process.stdout.write(summaryOf(manifest, `${name} (${manifest.source.commit?.slice(0, 7)})`, out))
    })
}

// glimpse manifest: what to paste where a platform asks what the app is. Slack is the only one that asks.

import { Command, InvalidArgumentError } from 'commander'
import { PLATFORMS } from '../platforms.ts'

const HELP = `
Paste it at https://api.slack.com/apps, "Create New App", "From a manifest", "JSON".

Examples:
  $ npx glimpse manifest                                  the app opens a connection to Slack (Socket Mode)
  $ npx glimpse manifest --url https://glimpse.example    Slack posts to this address instead
`

export function manifestCommand(): Command {
  return new Command('manifest')
    .description('prints the manifest of the Slack app')
    .option('--url <address>', 'address of this server as Slack reaches it, https', (text) => {
      if (URL.canParse(text) && new URL(text).protocol === 'https:') return text
      throw new InvalidArgumentError('Expected an address that begins with https://.')
    })
    .addHelpText('after', HELP)
    .action(async ({ url }: { url?: string }) => {
      const adapter = PLATFORMS.find(({ appManifest }) => appManifest)
      process.stdout.write(`${JSON.stringify(await adapter?.appManifest?.(url), null, 2)}\n`)
    })
}

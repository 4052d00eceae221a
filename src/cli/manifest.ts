// glimpse manifest: the Slack app's manifest, to paste into Slack's form for a new app.

import { Command, InvalidArgumentError } from 'commander'
import { PLATFORMS } from '../platforms.ts'

const HELP = `
Paste it at https://api.slack.com/apps, "Create New App", "From a manifest",
"JSON".

Examples:
  # Socket Mode: this machine connects to Slack
  $ npx glimpse manifest
  # Slack sends events to this address
  $ npx glimpse manifest --url https://glimpse.example
  # to the clipboard (macOS)
  $ npx glimpse manifest | pbcopy
`

export function manifestCommand(): Command {
  return new Command('manifest')
    .description('prints the manifest of the Slack app')
    .option('--url <address>', 'public https address of this server, to which Slack sends events', (text) => {
      if (URL.canParse(text) && new URL(text).protocol === 'https:') return text
      throw new InvalidArgumentError('Expected an address that starts with https://.')
    })
    .addHelpText('after', HELP)
    .action(async ({ url }: { url?: string }) => {
      const adapter = PLATFORMS.find(({ appManifest }) => appManifest)
      process.stdout.write(`${JSON.stringify(await adapter?.appManifest?.(url), null, 2)}\n`)
    })
}

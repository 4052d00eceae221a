// glimpse manifest: what to paste where Slack asks what the app is.

import { Command, InvalidArgumentError } from 'commander'

const HELP = `
Paste it at https://api.slack.com/apps, "Create New App", "From a manifest", "JSON".

Examples:
  $ npx glimpse manifest                                  the app connects from here (Socket Mode)
  $ npx glimpse manifest --url https://glimpse.example    Slack calls this address instead
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
      // Only here: other commands need not wait for Slack's library.
      const { slackManifest } = await import('../slack/manifest.ts')
      process.stdout.write(`${JSON.stringify(slackManifest(url), null, 2)}\n`)
    })
}

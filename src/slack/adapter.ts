// Slack as a row of the table of platforms. Bolt is optional and takes half a second to load, so open.ts and check.ts are
// loaded on use.

import type { Adapter } from '../chat/adapter.ts'
import { loadPart } from '../optional-part.ts'
import { SLACK_PATH, SLACK_SETTINGS, slackSettings } from './settings.ts'

const load = <T>(module: () => Promise<T>) => loadPart('Slack', ['@slack/bolt'], module)

export const slack: Adapter<typeof SLACK_SETTINGS> = {
  label: 'Slack',
  settings: SLACK_SETTINGS,
  webhookPath: SLACK_PATH,
  secrets: { receive: ['SLACK_BOT_TOKEN', 'SLACK_SIGNING_SECRET'], reply: ['SLACK_BOT_TOKEN'] },
  async open(values) {
    const settings = slackSettings(values)
    return settings && (await load(() => import('./open.ts'))).openSlack(settings)
  },
  openWebhook: async (values, deps) => (await load(() => import('./open.ts'))).openSlackWebhook(values, deps),
  checks: {
    slack: async (values, hasQueue) => (await load(() => import('./check.ts'))).checkSlack(values, hasQueue),
    'slack socket': async (values) => (await load(() => import('./check.ts'))).checkSlackSocket(values),
  },
  apiUrl: ({ slackBotToken, slackApiUrl }) => (slackBotToken === '' ? undefined : slackApiUrl),
  appManifest: async (address) => (await import('./manifest.ts')).slackManifest(address),
}

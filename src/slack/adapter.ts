// Slack as a row of the table of platforms. Bolt takes half a second to load, so open.ts and check.ts are loaded on use.

import type { Adapter } from '../chat/adapter.ts'
import { SLACK_PATH, SLACK_SETTINGS, slackSettings } from './settings.ts'

export const slack: Adapter<typeof SLACK_SETTINGS> = {
  label: 'Slack',
  settings: SLACK_SETTINGS,
  webhookPath: SLACK_PATH,
  secrets: { receive: ['SLACK_BOT_TOKEN', 'SLACK_SIGNING_SECRET'], reply: ['SLACK_BOT_TOKEN'] },
  async open(values) {
    const settings = slackSettings(values)
    return settings && (await import('./open.ts')).openSlack(settings)
  },
  openWebhook: async (values, deps) => (await import('./open.ts')).openSlackWebhook(values, deps),
  checks: {
    slack: async (values, hasQueue) => (await import('./check.ts')).checkSlack(values, hasQueue),
    'slack socket': async (values) => (await import('./check.ts')).checkSlackSocket(values),
  },
  apiUrl: ({ slackBotToken, slackApiUrl }) => (slackBotToken === '' ? undefined : slackApiUrl),
  appManifest: async (address) => (await import('./manifest.ts')).slackManifest(address),
}

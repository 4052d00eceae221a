// Slack's rows in the table of settings, and what they mean together.

import { SetupError } from '../errors.ts'
import { type SettingValues, secret, text } from '../setting.ts'

export const SLACK_PATH = '/slack/events'
export const SLACK_API = 'https://slack.com/api/'

export const SLACK_SETTINGS = {
  slackBotToken: secret('SLACK_BOT_TOKEN', { description: 'Bot token of the Slack app: xoxb-...' }),
  slackAppToken: secret('SLACK_APP_TOKEN', {
    description: 'App-level token, for a connection to Slack (Socket Mode): xapp-...',
  }),
  slackSigningSecret: secret('SLACK_SIGNING_SECRET', {
    description: `Checks the signature of what Slack posts to ${SLACK_PATH}. Used when SLACK_APP_TOKEN is not set.`,
  }),
  slackApiUrl: text('SLACK_API_URL', SLACK_API, {
    description: "Address of Slack's API; https://slack-gov.com/api/ for GovSlack.",
  }),
} as const

export type SlackValues = SettingValues<typeof SLACK_SETTINGS>

/** The settings above, by shorter names. `apiUrl`: default SLACK_API. */
export interface SlackSettings {
  botToken: string
  appToken?: string
  signingSecret?: string
  apiUrl?: string
}

/** Undefined when no secret of Slack is set. @throws SetupError `no_slack_token` */
export function slackSettings(values: SlackValues): SlackSettings | undefined {
  const { slackBotToken: botToken, slackAppToken, slackSigningSecret, slackApiUrl } = values
  if (botToken === '') {
    if (slackAppToken === '' && slackSigningSecret === '') return undefined
    throw new SetupError(
      'no_slack_token',
      'SLACK_BOT_TOKEN is missing, although another Slack token is set. Copy it from the app\'s page "Install App".',
    )
  }
  return {
    botToken,
    appToken: slackAppToken || undefined,
    signingSecret: slackSigningSecret || undefined,
    apiUrl: slackApiUrl,
  }
}

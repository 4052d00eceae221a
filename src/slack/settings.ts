// How this app is known to Slack, and where Slack is.

import type { Config } from '../config.ts'
import { SetupError } from '../errors.ts'

export interface SlackSettings {
  /** `xoxb-...`: speaks as the bot. */
  botToken: string
  /** `xapp-...`: opens a connection from here, so that no address of ours is needed (Socket Mode). */
  appToken?: string
  /** Signs requests that Slack sends to an address of ours. */
  signingSecret?: string
  /** Default https://slack.com/api/; another for GovSlack, or for a stand-in on this machine. */
  apiUrl?: string
}

export const SLACK_API = 'https://slack.com/api/'

/** Undefined without any setting of Slack. @throws SetupError `no_slack_token` */
export function slackSettings(config: Config): SlackSettings | undefined {
  const { slackBotToken: botToken, slackAppToken, slackSigningSecret, slackApiUrl } = config
  if (botToken === '') {
    if (slackAppToken === '' && slackSigningSecret === '') return undefined
    throw new SetupError(
      'no_slack_token',
      'Expected SLACK_BOT_TOKEN beside the other Slack settings but it is missing.',
    )
  }
  return {
    botToken,
    appToken: slackAppToken || undefined,
    signingSecret: slackSigningSecret || undefined,
    apiUrl: slackApiUrl,
  }
}

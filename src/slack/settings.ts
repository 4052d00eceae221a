// How this app is known to Slack, and where Slack is.

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

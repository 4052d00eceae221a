// Settings -> whether Slack accepts the tokens, and whether the app has the scopes that it needs.

import type { webApi } from '@slack/bolt'
import { type Finding, fail, ok, skipped, unreachable, warn } from '../finding.ts'
import { slackClient, slackErrorCode } from './api.ts'
import { slackManifest } from './manifest.ts'
import { SLACK_API, type SlackValues, slackSettings } from './settings.ts'

const SLACK_APPS = 'https://api.slack.com/apps'

/**
 * Calls auth.test with the bot's token. Slack names the token's scopes in the response.
 * @param hasQueue whether events may be received by another process. @throws SetupError `no_slack_token`
 */
export async function checkSlack(values: SlackValues, hasQueue: boolean): Promise<Finding> {
  const settings = slackSettings(values)
  if (settings === undefined) return skipped('SLACK_BOT_TOKEN is not set')
  const { botToken, appToken, signingSecret, apiUrl = SLACK_API } = settings
  let answer: webApi.AuthTestResponse
  try {
    answer = await slackClient({ botToken, apiUrl }).auth.test()
  } catch (error) {
    const refusal = slackErrorCode(error)
    if (refusal === undefined) return unreachable('Slack', apiUrl, error)
    return fail(
      `Slack refuses SLACK_BOT_TOKEN: ${refusal}`,
      `Copy the token again from ${SLACK_APPS}, your app, "Install App".`,
    )
  }
  const as = `${answer.user ?? 'the bot'} in ${answer.team ?? 'its workspace'}`
  const { oauth_config } = slackManifest()
  const granted = answer.response_metadata?.scopes
  const missing = oauth_config.scopes.bot.filter((scope) => granted !== undefined && !granted.includes(scope))
  if (missing.length > 0)
    return fail(
      `${as} lacks the scopes ${missing.join(', ')}`,
      'Paste slack-manifest.json into the app ("App Manifest") and install it to the workspace again.',
    )
  if (!appToken && !signingSecret) {
    // `glimpse work` needs neither. `glimpse serve` and `glimpse listen` do not start without one.
    const finding = hasQueue ? warn : fail
    return finding(
      `${as}, which receives no events`,
      'Set SLACK_APP_TOKEN (Socket Mode), or SLACK_SIGNING_SECRET if Slack can reach this server.',
    )
  }
  const scopes = granted === undefined ? ', scopes unknown' : ', with every scope of slack-manifest.json'
  return ok(`${as}${scopes}`)
}

/** Calls apps.connections.open, which returns an address; nothing connects to it. */
export async function checkSlackSocket(values: SlackValues): Promise<Finding> {
  const { slackBotToken, slackAppToken, slackSigningSecret, slackApiUrl } = values
  if (slackAppToken === '') {
    if (slackSigningSecret !== '' && slackBotToken !== '')
      return skipped(
        'Slack posts to this server (SLACK_SIGNING_SECRET); only "Retry" in the app\'s settings can test that',
      )
    return skipped('SLACK_APP_TOKEN is not set')
  }
  try {
    await slackClient({ botToken: slackAppToken, apiUrl: slackApiUrl }).apps.connections.open({})
    return ok('Slack accepts a connection (Socket Mode)')
  } catch (error) {
    const refusal = slackErrorCode(error)
    if (refusal === undefined) return unreachable('Slack', slackApiUrl, error)
    return fail(
      `Slack refuses SLACK_APP_TOKEN: ${refusal}`,
      `Create one at ${SLACK_APPS}, your app, "Basic Information", "App-Level Tokens", with the scope connections:write, and switch Socket Mode on.`,
    )
  }
}

// Whether Slack and Discord know our tokens, and whether the apps may do what Glimpse does there.

import { z } from 'zod'
import type { Config } from '../config.ts'
import { discordSettings } from '../discord/settings.ts'
import { isGlimpseError, SetupError } from '../errors.ts'
import { SLACK_API, slackSettings } from '../slack/settings.ts'
import { type Finding, fail, ok, skipped, warn } from './check.ts'

const slackAnswer = z.looseObject({
  team: z.string().optional(),
  user: z.string().optional(),
  response_metadata: z.looseObject({ scopes: z.array(z.string()).optional() }).optional(),
})

const SLACK_APPS = 'https://api.slack.com/apps'

/** auth.test with the bot's token; Slack names the token's scopes beside its answer. */
export async function checkSlack(config: Config): Promise<Finding> {
  const settings = configured(() => slackSettings(config))
  if (settings === undefined) return skipped('SLACK_BOT_TOKEN is not set')
  if (settings instanceof Error)
    return fail(settings.message, `Take it from ${SLACK_APPS}, your app, "Install App".`)
  const { botToken, appToken, signingSecret, apiUrl = SLACK_API } = settings
  const { slackClient, slackErrorCode } = await import('../slack/api.ts')
  const { slackManifest } = await import('../slack/manifest.ts')
  let answer: z.infer<typeof slackAnswer>
  try {
    answer = slackAnswer.parse(await slackClient({ botToken, apiUrl }).auth.test())
  } catch (error) {
    const refusal = slackErrorCode(error)
    if (refusal === undefined) return unreachable('Slack', apiUrl, error)
    return fail(
      `Slack refuses SLACK_BOT_TOKEN: ${refusal}`,
      `Take the token anew from ${SLACK_APPS}, your app, "Install App".`,
    )
  }
  const as = `${answer.user ?? 'the bot'} in ${answer.team ?? 'its workspace'}`
  const { oauth_config } = slackManifest() as { oauth_config: { scopes: { bot: string[] } } }
  const has = answer.response_metadata?.scopes
  const missing = oauth_config.scopes.bot.filter((scope) => has !== undefined && !has.includes(scope))
  if (missing.length > 0)
    return fail(
      `${as} lacks the scopes ${missing.join(', ')}`,
      'Paste slack-manifest.json into the app ("App Manifest") and install it to the workspace again.',
    )
  if (!appToken && !signingSecret) {
    // `glimpse work` needs neither; `glimpse serve` and `glimpse listen` do not start.
    const said = config.queue === '' ? fail : warn
    return said(
      `${as}, which hears nothing`,
      'Set SLACK_APP_TOKEN (Socket Mode), or SLACK_SIGNING_SECRET where Slack calls an address of yours.',
    )
  }
  const scopes =
    has === undefined ? ', whose scopes it did not tell' : ', with every scope of slack-manifest.json'
  return ok(`${as}${scopes}`)
}

/** apps.connections.open gives an address to connect to, which is not connected to. */
export async function checkSlackSocket({
  slackBotToken,
  slackAppToken,
  slackSigningSecret,
  slackApiUrl,
}: Config): Promise<Finding> {
  if (slackAppToken === '') {
    if (slackSigningSecret !== '' && slackBotToken !== '')
      return skipped('Slack calls here (SLACK_SIGNING_SECRET): only its "Retry" can try that')
    return skipped('SLACK_APP_TOKEN is not set')
  }
  const { slackClient, slackErrorCode } = await import('../slack/api.ts')
  try {
    await slackClient({ botToken: slackAppToken, apiUrl: slackApiUrl }).apps.connections.open({})
    return ok('Slack would open a connection (Socket Mode)')
  } catch (error) {
    const refusal = slackErrorCode(error)
    if (refusal === undefined) return unreachable('Slack', slackApiUrl, error)
    return fail(
      `Slack refuses SLACK_APP_TOKEN: ${refusal}`,
      `Make one at ${SLACK_APPS}, your app, "Basic Information", "App-Level Tokens", with the scope connections:write; switch Socket Mode on.`,
    )
  }
}

/** Flags of an application (Discord's documentation, "Application Flags"). */
const MESSAGE_CONTENT = (1 << 18) | (1 << 19)
const PORTAL = 'https://discord.com/developers/applications'

const discordApplication = z.looseObject({
  name: z.string(),
  verify_key: z.string(),
  flags: z.number().optional(),
  interactions_endpoint_url: z.string().nullish(),
})

/** The application behind the bot's token: its key, its intents, where its commands go. */
export async function checkDiscord(config: Config): Promise<Finding> {
  const { discordPublicKey } = config
  const settings = configured(() => discordSettings(config))
  if (settings === undefined) return skipped('DISCORD_TOKEN is not set')
  if (settings instanceof Error)
    return fail(settings.message, `Take it from ${PORTAL}, your application, "Bot".`)
  const { discordApi } = await import('../discord/api.ts')
  let application: z.infer<typeof discordApplication>
  try {
    application = discordApplication.parse(
      await discordApi(settings).call('GET', '/applications/@me', { noRetry: true }),
    )
  } catch (error) {
    if (isGlimpseError(error) && error.kind === 'setup')
      return fail(
        'Discord refuses DISCORD_TOKEN',
        `Take a new one from ${PORTAL}, your application, "Bot", "Reset Token".`,
      )
    return unreachable('Discord', settings.apiUrl ?? 'https://discord.com/api/', error)
  }
  const { name, verify_key, flags = 0, interactions_endpoint_url: endpoint } = application
  if (discordPublicKey !== '' && discordPublicKey !== verify_key)
    return fail(
      `DISCORD_PUBLIC_KEY is not that of ${name}`,
      `Copy it from ${PORTAL}, your application, "General Information".`,
    )
  if (settings.messageContent && (flags & MESSAGE_CONTENT) === 0)
    return fail(
      `${name} has no Message Content intent`,
      `Switch it on at ${PORTAL}, "Bot", or unset GLIMPSE_DISCORD_MESSAGE_CONTENT.`,
    )
  if (endpoint && discordPublicKey === '')
    return warn(
      `${name} sends its commands to an address`,
      `Set DISCORD_PUBLIC_KEY, or empty "Interactions Endpoint URL" at ${PORTAL}.`,
    )
  if (!endpoint && discordPublicKey !== '')
    return ok(`${name}; its commands come over the gateway until "Interactions Endpoint URL" is set`)
  return ok(`${name}, its commands ${endpoint ? 'over HTTP' : 'over the gateway'}`)
}

/** As the run decides it: undefined where nothing is set up, an error where something is missing. */
function configured<T>(read: () => T): T | SetupError {
  try {
    return read()
  } catch (error) {
    if (error instanceof SetupError) return error
    throw error
  }
}

function unreachable(who: string, address: string, error: unknown): Finding {
  const { message, cause } = error instanceof Error ? error : new Error(String(error))
  const why = cause instanceof Error ? cause.message : message
  return fail(
    `${who} did not answer at ${new URL(address).host}: ${why}`,
    'Let this machine out to it (443), and see whether it is up.',
  )
}

// slack-manifest.json, which is pasted into Slack once and creates an app -> that manifest, for Socket Mode or for HTTP. It has
// the scopes and events that Glimpse uses, and no others; docs/privacy.md says what each scope is for.
//
// Source: docs.slack.dev, "App manifest reference".

import { readFileSync } from 'node:fs'
import { SLACK_PATH } from './settings.ts'

interface Manifest {
  features: { slash_commands: object[]; shortcuts: object[] }
  oauth_config: { scopes: { bot: string[] } }
  settings: { event_subscriptions: object; interactivity: object; socket_mode_enabled: boolean }
}

/** `url`: the public address of the server, for HTTP. Without it the app uses Socket Mode. */
export function slackManifest(url?: string): Manifest {
  const file = new URL('../../slack-manifest.json', import.meta.url)
  const manifest: Manifest = JSON.parse(readFileSync(file, 'utf8'))
  if (url === undefined) return manifest
  const address = `${url.replace(/\/$/, '')}${SLACK_PATH}`
  const { features, settings } = manifest
  for (const each of features.slash_commands) Object.assign(each, { url: address })
  for (const each of [settings.event_subscriptions, settings.interactivity])
    Object.assign(each, { request_url: address })
  return { ...manifest, settings: { ...settings, socket_mode_enabled: false } }
}

// The manifest that is pasted into Slack: of the commands that the code answers, and with an address where there is one.

import { expect, test } from 'vitest'
import { en } from '../../src/i18n/en.ts'
import { CAPTION_COMMAND, DESCRIBE_SHORTCUT, SETTINGS_COMMAND } from '../../src/slack/interactions.ts'
import { slackManifest } from '../../src/slack/manifest.ts'

test('its commands and its shortcut are those that the code answers', () => {
  const { features } = slackManifest()
  expect(features.slash_commands).toMatchObject([
    { command: CAPTION_COMMAND, description: en.command.caption },
    { command: SETTINGS_COMMAND, description: en.command.settings },
  ])
  expect(features.shortcuts).toMatchObject([{ callback_id: DESCRIBE_SHORTCUT }])
})

test('with a URL Slack calls it for everything, without one for nothing', () => {
  const manifest = slackManifest('https://glimpse.example/')
  const calls = JSON.stringify(manifest)
  expect(calls.match(/https:\/\/glimpse\.example\/slack\/events/g)).toHaveLength(4)
  expect(manifest.settings).toMatchObject({ socket_mode_enabled: false })
  expect(slackManifest().settings).toMatchObject({ socket_mode_enabled: true })
  expect(JSON.stringify(slackManifest())).not.toContain('http')
})

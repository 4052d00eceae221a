// The manifest that is pasted into Slack: equal to the one that the code makes.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { slackManifest } from '../../src/slack/manifest.ts'

test('the file in the repository is what the code makes: npx glimpse manifest > slack-manifest.json', () => {
  const file = readFileSync(join(import.meta.dirname, '../../slack-manifest.json'), 'utf8')
  expect(JSON.parse(file)).toEqual(slackManifest())
})

test('with a URL Slack calls it for everything, without one for nothing', () => {
  const calls = JSON.stringify(slackManifest('https://glimpse.example/'))
  expect(calls.match(/https:\/\/glimpse\.example\/slack\/events/g)).toHaveLength(4)
  expect(JSON.stringify(slackManifest())).not.toContain('http')
})

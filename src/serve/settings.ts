// What settings mean for a server and its model: the same for every command and function that has one.

import type { Config } from '../config.ts'
import type { startEngine } from '../engine/engine.ts'
import { openStore } from '../store/open.ts'
import type { AppOptions } from './routes.ts'

/** @throws SetupError `bad_place` */
export async function serverSettings(config: Config) {
  return {
    hosts: config.allowedHosts
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== ''),
    token: config.apiToken,
    maxQueue: config.maxQueue,
    concurrency: config.maxBatch,
    deadlineMs: config.deadlineMs,
    // Loaded only here: the SDK takes a while.
    uploads:
      config.uploads === '' ? undefined : (await import('./s3-uploads.ts')).openUploads(config.uploads),
    store: () => openStore(config.state),
  } satisfies AppOptions
}

/** How the model runs here, wherever it lies. */
export function engineSettings({ threads, provider, providerMissing, maxBatch }: Config) {
  return {
    threads: threads === 0 ? undefined : threads,
    provider: { requested: provider, onUnavailable: providerMissing },
    maxBatch,
  } satisfies Partial<Parameters<typeof startEngine>[0]>
}

/** Whether any setting of a chat is there: what is missing beside it is an error then. */
export function wantsChat(config: Config): boolean {
  return [
    config.slackBotToken,
    config.slackAppToken,
    config.slackSigningSecret,
    config.discordToken,
    config.discordPublicKey,
  ].some((given) => given !== '')
}

// What the commands share that hear chats or answer them.

import type { Config } from '../config.ts'
import { type Engine, startEngine } from '../engine/engine.ts'
import { SetupError } from '../errors.ts'
import { openRemoteEngine } from '../remote/open.ts'
import type { Chat, ChatOptions } from '../serve/chat.ts'
import { wantsChat } from '../serve/settings.ts'
import { childLocation } from '../store/open.ts'
import { HOUR_MS } from '../time.ts'
import { type ModelFlags, modelFor } from './flags.ts'

/** With chats, what the model saw is remembered over a restart, so that their threads go on. */
export async function engineFor(options: ModelFlags, config: Config): Promise<Engine> {
  const remote = await openRemoteEngine(config)
  if (remote) return remote
  const location = childLocation(config.state, 'seen')
  const encoderCache = wantsChat(config) ? { location, ttlMs: config.keepHours * HOUR_MS } : undefined
  return await startEngine({ ...(await modelFor(options, config)), encoderCache, warmUp: true })
}

/**
 * Before anything is loaded.
 * @throws SetupError `no_chat`, `no_queue`
 */
export function requireQueue(config: Config, command: 'listen' | 'work'): void {
  const help = `See: npx glimpse ${command} --help`
  if (!wantsChat(config)) {
    throw new SetupError('no_chat', `Expected tokens of Slack or Discord but got none. ${help}`)
  }
  if (config.queue !== '') return
  throw new SetupError(
    'no_queue',
    `Expected GLIMPSE_QUEUE to be the address of a queue in SQS but got none. ${help}`,
  )
}

/** Loaded only here: the platforms' libraries take half a second. */
export async function openChat(options: ChatOptions): Promise<Chat> {
  return await (await import('../serve/chat.ts')).openChat(options)
}

// Everything that the rest of Glimpse knows of a chat platform. A platform is one folder that exports one Adapter from
// adapter.ts, and one row of src/platforms.ts.

import type { Engine } from '../engine/engine.ts'
import type { Finding } from '../finding.ts'
import type { SettingTable, SettingValues } from '../setting.ts'
import type { Platform } from './platform.ts'
import type { Preferences } from './preferences.ts'
import type { QuestionSink } from './processor.ts'

export type WebhookHandler = (request: Request) => Promise<Response>

/** What a platform hands its events to. */
export interface EventDeps {
  sink: QuestionSink
  preferences: Preferences
  /** The words of the last question in a conversation; '' when there is none. Absent: "again" asks for a caption. */
  lastQuestion?(conversation: string): Promise<string>
  /** Absent where another process runs the model. */
  engine?: Promise<Engine>
  /** How long a conversation is kept, for texts that say so. */
  keepMs: number
  /** Receives errors that no caller sees. */
  report: (error: unknown) => void
}

/** Events of one platform, as they arrive. */
interface EventSource {
  /** Handles what the platform posts to `webhookPath`, and checks its signature; absent where a connection is used. */
  webhook?: WebhookHandler
  /** Connects. @throws SetupError when the platform refuses the token */
  start(): Promise<void>
  /** Receives nothing more. Replies still get out. */
  stop(): Promise<void>
  /** What is left to do before events arrive, for the terminal: a link with which people add the bot. */
  hint?(): string | undefined
  /** Why the platform closed the connection for good: no event arrives until somebody mends it. Undefined while it is open. */
  fault?(): Error | undefined
}

/** A platform whose settings are complete. */
export interface OpenAdapter {
  platform: Platform
  receive(deps: EventDeps): EventSource
}

export interface Adapter<S extends SettingTable> {
  /** As users write it: `Slack`. */
  label: string
  /** Rows of the table of settings. One secret that is set means that the platform is wanted. */
  settings: S
  /** Path of Glimpse's server that the platform posts to. */
  webhookPath: string
  /** Names of the secrets that a function needs to receive events, and to reply. */
  secrets: { receive: readonly string[]; reply: readonly string[] }
  /** Undefined when no secret is set. @throws SetupError when one is missing beside the others */
  open(values: SettingValues<S>): Promise<OpenAdapter | undefined>
  /**
   * The webhook alone, for a process that stops when its response is out (Lambda).
   * @throws SetupError when one of `secrets.receive` is missing
   */
  openWebhook(values: SettingValues<S>, deps: EventDeps): Promise<WebhookHandler>
  /** By the first column of `glimpse doctor`. `hasQueue`: this process may then answer without receiving events. */
  checks: Record<string, (values: SettingValues<S>, hasQueue: boolean) => Promise<Finding>>
  /** Address of the platform's API when a secret is set; doctor compares clocks with it. */
  apiUrl(values: SettingValues<S>): string | undefined
  /** What to paste where the platform asks what the app is. `address`: this server, as the platform reaches it. */
  appManifest?(address?: string): Promise<object>
}

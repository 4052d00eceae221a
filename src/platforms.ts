// The table of chat platforms. Settings, `serve`, `listen`, `work`, `doctor`, `manifest` and the functions read it.

import { discord } from './discord/adapter.ts'
import { slack } from './slack/adapter.ts'

export const PLATFORMS = [slack, discord] as const

export type AnyAdapter = (typeof PLATFORMS)[number]

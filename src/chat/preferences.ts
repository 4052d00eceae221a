// Two choices that users make, kept in the store: channels with automatic captions, and people who opted out.

import { sha256Hex } from '../hash.ts'
import type { Store } from '../store/store.ts'

/** A hundred years: a choice does not expire. */
const KEEP_MS = 100 * 365 * 86_400_000

export type Preferences = ReturnType<typeof openPreferences>

export function openPreferences(store: Store) {
  const isSet = async (key: string) => (await store.read(key)) !== undefined
  const set = async (key: string, on: boolean) => {
    if (on) await store.replace(key, new Uint8Array(), KEEP_MS)
    else await store.remove(key)
  }
  const automatic = (channel: string) => `automatic/${sha256Hex(channel)}`
  const optedOut = (person: string) => `opted-out/${sha256Hex(person)}`
  return {
    isAutomatic: (channel: string) => isSet(automatic(channel)),
    setAutomatic: (channel: string, on: boolean) => set(automatic(channel), on),
    hasOptedOut: (person: string) => isSet(optedOut(person)),
    setOptedOut: (person: string, out: boolean) => set(optedOut(person), out),
  }
}

// What people chose: channels in which every picture is described, and people whose pictures never are.

import { sha256Hex } from '../hash.ts'
import type { Store } from '../store/store.ts'

/** Choices stay until they are changed. */
const FOR_GOOD_MS = 100 * 365 * 86_400_000

export interface Preferences {
  isAutomatic(channel: string): Promise<boolean>
  setAutomatic(channel: string, on: boolean): Promise<void>
  hasOptedOut(person: string): Promise<boolean>
  setOptedOut(person: string, out: boolean): Promise<void>
}

export function openPreferences(store: Store): Preferences {
  const isSet = async (key: string) => (await store.read(key)) !== undefined
  const set = async (key: string, on: boolean) => {
    if (on) await store.replace(key, new Uint8Array(), FOR_GOOD_MS)
    else await store.remove(key)
  }
  return {
    isAutomatic: (channel) => isSet(keyOf('automatic', channel)),
    setAutomatic: (channel, on) => set(keyOf('automatic', channel), on),
    hasOptedOut: (person) => isSet(keyOf('opted-out', person)),
    setOptedOut: (person, out) => set(keyOf('opted-out', person), out),
  }
}

function keyOf(choice: string, name: string): string {
  return `${choice}/${sha256Hex(name)}`
}

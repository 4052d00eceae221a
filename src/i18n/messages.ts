// The type of a language's texts: that of the English ones, so a missing text does not compile.

import type { en } from './en.ts'

export type Messages = typeof en
export type Problems = Messages['problem']

/** `in 3 minutes`, in the language of `messages`. Rounded up. */
export function fromNow(messages: Messages, ms: number): string {
  const format = new Intl.RelativeTimeFormat(messages.locale, { numeric: 'always' })
  const seconds = Math.max(1, Math.ceil(ms / 1000))
  return seconds < 60 ? format.format(seconds, 'second') : format.format(Math.ceil(seconds / 60), 'minute')
}

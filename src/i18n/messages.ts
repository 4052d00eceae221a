// Everything a person reads in a chat that the model did not say, in each language.
//
// The model's own words stay English, which the reply says. A language is one object of this shape: what is missing
// does not compile.

/** Why there is no answer: the keys that errors of the path are told by. */
export interface Problems {
  no_picture: string
  not_a_picture: string
  damaged_picture: string
  picture_too_large: (limitMib: number) => string
  picture_gone: string
  picture_forbidden: string
  picture_unreachable: string
  question_too_long: string
  busy: (ahead: number) => string
  restarting: string
  deadline: string
  opted_out: string
  limit: (when: string) => string
  not_allowed: string
  needs_intent: string
  not_here: string
  cannot_reply: string
  internal: string
}

export interface Messages {
  /** BCP 47. */
  locale: string
  problem: Problems
  /** While it works. */
  looking: string
  waiting: (ahead: number) => string
  /** In place of an answer without words. */
  nothing: string
  /** Small print under a reply. */
  machineMade: string
  englishOnly: string
  /** How many pictures of a message were left out. */
  leftOut: (count: number) => string
  /** Before a caption that can be copied. */
  altText: string
  /** Descriptions of commands and their options. */
  command: {
    caption: string
    captionImage: string
    captionQuestion: string
    ask: string
    askQuestion: string
    askImage: string
    settings: string
    settingsAutomatic: string
    privacy: string
    privacyOptOut: string
  }
  modal: {
    title: string
    submit: string
    cancel: string
    picture: string
    question: string
    questionHint: string
    settingsTitle: string
    save: string
    automatic: string
    automaticHint: string
  }
  home: {
    title: string
    sees: string
    howTitle: string
    how: readonly string[]
    privacyTitle: string
    privacy: (hours: number) => string
    optOut: string
    optIn: string
    optedOut: string
  }
  /** What a settings command answers. */
  done: { automaticOn: string; automaticOff: string; optedOut: string; optedIn: string }
}

/** `in 3 minutes`, in the language of the words; never earlier than it is. */
export function fromNow(messages: Messages, ms: number): string {
  const format = new Intl.RelativeTimeFormat(messages.locale, { numeric: 'always' })
  const seconds = Math.max(1, Math.ceil(ms / 1000))
  return seconds < 60 ? format.format(seconds, 'second') : format.format(Math.ceil(seconds / 60), 'minute')
}

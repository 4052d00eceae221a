// The texts of a chat reply, apart from the model's own, which are English. Each language is one object of type Messages,
// so a missing text does not compile.

/** Reasons for no answer. */
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
  /** The status while the model runs. */
  looking: string
  waiting: (ahead: number) => string
  /** In place of an empty answer. */
  nothing: string
  /** Small print under a reply. */
  machineMade: string
  englishOnly: string
  /** How many pictures of a message were left out. */
  leftOut: (count: number) => string
  /** Label of a caption that can be copied. */
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
  /** Replies to a settings command. */
  done: { automaticOn: string; automaticOff: string; optedOut: string; optedIn: string }
}

/** `in 3 minutes`, in the language of `messages`. Rounded up. */
export function fromNow(messages: Messages, ms: number): string {
  const format = new Intl.RelativeTimeFormat(messages.locale, { numeric: 'always' })
  const seconds = Math.max(1, Math.ceil(ms / 1000))
  return seconds < 60 ? format.format(seconds, 'second') : format.format(Math.ceil(seconds / 60), 'minute')
}

// Locale -> the texts of its language.

import { de } from './de.ts'
import { en } from './en.ts'
import { es } from './es.ts'
import { fr } from './fr.ts'
import { ja } from './ja.ts'
import type { Messages } from './messages.ts'

const LANGUAGES: Record<string, Messages> = { en, de, es, fr, ja }

export const LOCALES = Object.keys(LANGUAGES)

/** Accepts the locales of Slack and Discord, such as `de-DE`, `es-419` or `en_US`. Default: English. */
export function messagesFor(locale: string | undefined): Messages {
  const language = (locale ?? '').split(/[-_]/)[0]!.toLowerCase()
  return LANGUAGES[language] ?? en
}

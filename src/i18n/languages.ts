// Which of the words a person reads: those of their language.

import { de } from './de.ts'
import { en } from './en.ts'
import { es } from './es.ts'
import { fr } from './fr.ts'
import { ja } from './ja.ts'
import type { Messages } from './messages.ts'

const LANGUAGES: Record<string, Messages> = { en, de, es, fr, ja }

export const LOCALES = Object.keys(LANGUAGES)

/** The words for a locale as platforms write them (`de-DE`, `es-419`, `en_US`); English for one we do not have. */
export function messagesFor(locale: string | undefined): Messages {
  const language = (locale ?? '').split(/[-_]/)[0]!.toLowerCase()
  return LANGUAGES[language] ?? en
}

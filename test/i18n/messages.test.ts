// The texts of each language: complete, and within the limits of the platforms.

import { describe, expect, test } from 'vitest'
import { LOCALES, messagesFor } from '../../src/i18n/languages.ts'
import { fromNow, type Messages } from '../../src/i18n/messages.ts'

test.each([
  ['de-DE', 'de'],
  ['es-419', 'es'],
  ['fr', 'fr'],
  ['ja-JP', 'ja'],
  ['en_GB', 'en'],
  ['pt-BR', 'en'],
  ['', 'en'],
  [undefined, 'en'],
])('for %j they are %s', (locale, language) => {
  expect(messagesFor(locale).locale).toBe(language)
})

describe.each(LOCALES)('in %s', (locale) => {
  const messages = messagesFor(locale)

  test('every sentence is there', () => {
    const empty = textsOf(messages).filter(({ text }) => text.trim() === '')
    expect(empty).toEqual([])
  })

  test('no sentence is English by mistake', () => {
    if (locale === 'en') return
    const english = new Map(textsOf(messagesFor('en')).map(({ path, text }) => [path, text]))
    const same = textsOf(messages).filter(({ path, text }) => english.get(path) === text && text.length > 20)
    expect(same).toEqual([])
  })

  test('windows and commands fit', () => {
    const { modal, command } = messages
    for (const text of [modal.title, modal.submit, modal.cancel, modal.save, modal.settingsTitle]) {
      expect(text.length).toBeLessThanOrEqual(24)
    }
    for (const text of Object.values(command)) expect(text.length).toBeLessThanOrEqual(100)
  })

  test('a wait is given in the language, never shorter than it is', () => {
    expect(fromNow(messages, 59_001)).toMatch(/1/)
    expect(fromNow(messages, 61_000)).toMatch(/2/)
    expect(fromNow(messages, 500)).toMatch(/1/)
  })
})

function textsOf(messages: Messages): { path: string; text: string }[] {
  const visit = (value: unknown, path: string): { path: string; text: string }[] => {
    if (typeof value === 'string') return [{ path, text: value }]
    if (typeof value === 'function')
      return [1, 5].map((n) => ({ path: `${path}(${n})`, text: value(n) as string }))
    return Object.entries(value as object).flatMap(([name, each]) => visit(each, `${path}.${name}`))
  }
  return visit(messages, 'words').filter(({ path }) => path !== 'words.locale')
}

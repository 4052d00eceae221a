// The words of each language: all there, within what the platforms take, and in the asker's language.

import { describe, expect, test } from 'vitest'
import { LOCALES, wordsFor } from '../../src/i18n/languages.ts'
import { fromNow, type Words } from '../../src/i18n/messages.ts'

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
  expect(wordsFor(locale).locale).toBe(language)
})

describe.each(LOCALES)('in %s', (locale) => {
  const words = wordsFor(locale)

  test('every sentence is there', () => {
    const empty = textsOf(words).filter(({ text }) => text.trim() === '')
    expect(empty).toEqual([])
  })

  test('no sentence is English by mistake', () => {
    if (locale === 'en') return
    const english = new Map(textsOf(wordsFor('en')).map(({ path, text }) => [path, text]))
    const same = textsOf(words).filter(({ path, text }) => english.get(path) === text && text.length > 20)
    expect(same).toEqual([])
  })

  test('windows and commands fit', () => {
    const { modal, command } = words
    for (const text of [modal.title, modal.submit, modal.cancel, modal.save, modal.settingsTitle]) {
      expect(text.length).toBeLessThanOrEqual(24)
    }
    for (const text of Object.values(command)) expect(text.length).toBeLessThanOrEqual(100)
  })

  test('a wait is told in its own words, never shorter than it is', () => {
    expect(fromNow(words, 59_001)).toMatch(/1/)
    expect(fromNow(words, 61_000)).toMatch(/2/)
    expect(fromNow(words, 500)).toMatch(/1/)
  })
})

function textsOf(words: Words): { path: string; text: string }[] {
  const visit = (value: unknown, path: string): { path: string; text: string }[] => {
    if (typeof value === 'string') return [{ path, text: value }]
    if (typeof value === 'function')
      return [1, 5].map((n) => ({ path: `${path}(${n})`, text: value(n) as string }))
    return Object.entries(value as object).flatMap(([name, each]) => visit(each, `${path}.${name}`))
  }
  return visit(words, 'words').filter(({ path }) => path !== 'words.locale')
}

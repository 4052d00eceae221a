// One setting: its environment variable, what it means, its default and how its text is read.

import { homedir } from 'node:os'
import { join } from 'node:path'

interface Details {
  description: string
  /** The default, as --help shows it, where that is not the value itself: `none` for an empty one. */
  defaultText?: string
  /** Variables that a hosting platform sets instead, each with the part of it that is used. `env` has precedence. */
  aliases?: Readonly<Record<string, (text: string) => string>>
}

export interface Setting<T> extends Details {
  env: string
  defaultText: string
  fallback: () => T
  /** Undefined for text that is no valid value. */
  parse: (text: string) => T | undefined
  expected: string
  /** Never printed or logged. */
  isSecret?: true
}

export type SettingTable = Readonly<Record<string, Setting<unknown>>>

/** The values that a table of settings describes, by the table's names. */
export type SettingValues<S extends SettingTable> = {
  [K in keyof S]: S[K] extends Setting<infer T> ? T : never
}

export function integer(
  env: string,
  fallback: number,
  min: number,
  max: number,
  details: Details,
): Setting<number> {
  const parse = (text: string) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    return value >= min && value <= max ? value : undefined
  }
  const expected = `a whole number from ${min} to ${max}`
  return { env, fallback: () => fallback, parse, expected, defaultText: String(fallback), ...details }
}

/** @param fallback a leading `~/` is the home folder */
export function text(env: string, fallback: string, details: Details): Setting<string> {
  const value = () => (fallback.startsWith('~/') ? join(homedir(), fallback.slice(2)) : fallback)
  const parse = (text: string) => text
  return { env, fallback: value, parse, expected: 'some text', defaultText: fallback || 'none', ...details }
}

/** One of a few words. */
export function choice<T extends string>(
  env: string,
  fallback: T,
  words: readonly T[],
  details: Details,
): Setting<T> {
  const parse = (text: string) => words.find((word) => word === text)
  const expected = words.join(' or ')
  return { env, fallback: () => fallback, parse, expected, defaultText: fallback, ...details }
}

/** On or off. The words are those that huggingface_hub reads (constants.py, ENV_VARS_TRUE_VALUES). */
export function flag(env: string, details: Details): Setting<boolean> {
  const parse = (text: string) => {
    if (/^(1|on|yes|true)$/i.test(text)) return true
    return /^(0|off|no|false)$/i.test(text) ? false : undefined
  }
  return { env, fallback: () => false, parse, expected: '1 or 0', defaultText: '0', ...details }
}

/** Without the line feed that a file or a pipe leaves at its end: no header could have it. */
export function secret(env: string, details: Details): Setting<string> {
  return { ...text(env, '', details), parse: (text) => text.trim(), isSecret: true }
}

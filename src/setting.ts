// One setting: its environment variable, what it means, its default and how its text is read.

export interface Setting<T> {
  env: string
  description: string
  /** The default, as --help shows it. */
  defaultText: string
  fallback: () => T
  /** Undefined for text that is no valid value. */
  parse: (text: string) => T | undefined
  expected: string
  /** Variables that a hosting platform sets instead, each with the part of it that is used. `env` has precedence. */
  aliases?: Readonly<Record<string, (text: string) => string>>
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
  description: string,
): Setting<number> {
  const parse = (text: string) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    return value >= min && value <= max ? value : undefined
  }
  return {
    env,
    description,
    defaultText: String(fallback),
    fallback: () => fallback,
    parse,
    expected: `a whole number from ${min} to ${max}`,
  }
}

export function text(
  env: string,
  defaultText: string,
  fallback: () => string,
  description: string,
): Setting<string> {
  return {
    env,
    description,
    defaultText,
    fallback,
    parse: (value) => value,
    expected: 'some text',
  }
}

/** One of a few words. */
export function choice<T extends string>(
  env: string,
  fallback: T,
  words: readonly T[],
  description: string,
): Setting<T> {
  return {
    env,
    description,
    defaultText: fallback,
    fallback: () => fallback,
    parse: (value) => words.find((word) => word === value),
    expected: words.join(' or '),
  }
}

export function secret(env: string, description: string): Setting<string> {
  return { ...text(env, 'none', () => '', description), isSecret: true }
}

// One setting: its environment variable, what it means, its default and how its text is read.

export interface Setting<T> {
  env: string
  description: string
  /** What --help shows as default. */
  defaultText: string
  fallback: () => T
  /** Undefined when the text is not a value. */
  parse: (text: string) => T | undefined
  expected: string
  /** Names under which a platform gives the same, and the part of it that counts; ours comes first. */
  aliases?: Readonly<Record<string, (text: string) => string>>
  /** Must never be printed. */
  isSecret?: true
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

export function secret(env: string, what: string): Setting<string> {
  return { ...text(env, 'none', () => '', what), isSecret: true }
}

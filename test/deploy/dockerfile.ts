// A Dockerfile's text -> its stages and instructions (Dockerfile reference, "Format"). Supported is what this repository's
// Dockerfile uses: comments, continued lines, ARG before FROM, flags, JSON forms, ${NAME}. Not supported: here-documents,
// the `escape` directive.

export interface Instruction {
  /** In upper case: `COPY`. */
  name: string
  /** `--from=packages` -> `from: 'packages'`. */
  flags: Record<string, string>
  /** The text after the flags, joined into one line. */
  text: string
  /** Line number, counted from 1. */
  line: number
}

export interface Stage {
  name: string
  /** An image, `scratch` or the name of another stage. */
  base: string
  /** All instructions except FROM. */
  instructions: Instruction[]
}

export interface Dockerfile {
  /** ARGs before the first FROM; given values replace their defaults. */
  args: Record<string, string>
  stages: Stage[]
}

/**
 * @param given `--build-arg`s
 * @throws Error for a line that is not an instruction
 */
export function parseDockerfile(text: string, given: Readonly<Record<string, string>> = {}): Dockerfile {
  const args: Record<string, string> = {}
  const stages: Stage[] = []
  for (const instruction of instructionsOf(text)) {
    const stage = stages.at(-1)
    if (instruction.name === 'FROM') {
      const [, base, name] = /^(\S+)(?: AS (\S+))?$/i.exec(expand(instruction.text, args)) ?? []
      if (base === undefined) throw new Error(`Line ${instruction.line}: expected FROM <image> AS <name>.`)
      stages.push({ name: name ?? String(stages.length), base, instructions: [] })
    } else if (stage) stage.instructions.push(instruction)
    else if (instruction.name === 'ARG') {
      const [name, value] = pairOf(instruction.text)
      args[name] = given[name] ?? expand(value, args)
    } else throw new Error(`Line ${instruction.line}: ${instruction.name} is before the first FROM.`)
  }
  return { args, stages }
}

function instructionsOf(text: string): Instruction[] {
  const found: Instruction[] = []
  let begun: { words: string; line: number } | undefined
  for (const [index, raw] of text.split('\n').entries()) {
    if (/^\s*#/.test(raw) || (begun === undefined && raw.trim() === '')) continue
    begun ??= { words: '', line: index + 1 }
    begun.words += raw.replace(/\\\s*$/, '')
    if (/\\\s*$/.test(raw)) continue
    found.push(instructionOf(begun.words.trim(), begun.line))
    begun = undefined
  }
  return found
}

function instructionOf(words: string, line: number): Instruction {
  const [, name, rest] = /^([A-Za-z]+)\s+(.*)$/.exec(words) ?? []
  if (name === undefined || rest === undefined) throw new Error(`Line ${line}: expected an instruction.`)
  const flags: Record<string, string> = {}
  let text = rest
  for (let flag = next(text); flag; flag = next(text)) {
    flags[flag[1]!] = flag[2]!
    text = text.slice(flag[0].length)
  }
  return { name: name.toUpperCase(), flags, text: text.trim(), line }
}

function next(text: string): RegExpExecArray | null {
  return /^\s*--([\w-]+)=(\S+)(?:\s+|$)/.exec(text)
}

/** Returns the words of an exec form, `["node", "main.js"]`, or undefined for a shell form. */
export function execForm(text: string): string[] | undefined {
  try {
    const words: unknown = JSON.parse(text)
    return Array.isArray(words) && words.every((word) => typeof word === 'string') ? words : undefined
  } catch {
    return undefined
  }
}

/** `A=1 B="two words"` -> its pairs, unexpanded. */
export function pairsOf(text: string): [string, string][] {
  return [...text.matchAll(/([\w.-]+)=("(?:[^"\\]|\\.)*"|\S*)/g)].map(([pair]) => pairOf(pair))
}

/** `NAME=value` or `NAME`. */
export function pairOf(text: string): [string, string] {
  const [, name, value = ''] = /^([\w.-]+)(?:=(.*))?$/.exec(text) ?? []
  if (name === undefined) throw new Error(`Expected NAME=value but got ${text}.`)
  return [name, value.replace(/^"(.*)"$/, '$1')]
}

export function expand(text: string, values: Readonly<Record<string, string>>): string {
  return text.replace(/\$\{(\w+)\}|\$(\w+)/g, (_, a?: string, b?: string) => values[(a ?? b)!] ?? '')
}

/** Returns the stages that `target` needs, `target` last. */
export function stagesFor({ stages }: Dockerfile, target = stages.at(-1)!.name): Stage[] {
  const needed: Stage[] = []
  const visit = (name: string) => {
    const stage = stages.find((each) => each.name === name)
    if (!stage || needed.includes(stage)) return
    visit(stage.base)
    for (const { flags } of stage.instructions) if (flags.from !== undefined) visit(flags.from)
    needed.push(stage)
  }
  visit(target)
  return needed
}

/** Returns whether .dockerignore excludes a path relative to the root. The last matching line decides; a folder's line applies to its content. */
export function ignoredBy(text: string): (path: string) => boolean {
  const rules = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => ({ includes: line.startsWith('!'), pattern: line.replace(/^!/, '').replace(/\/$/, '') }))
  return (path) => {
    let ignored = false
    for (const { includes, pattern } of rules) {
      const matches = pattern === '*' || path === pattern || path.startsWith(`${pattern}/`)
      if (matches) ignored = !includes
    }
    return ignored
  }
}

// The commands of a page of docs/, as they are printed -> one script for bash.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '../..')

/** A line that is not run as printed: what starts it, and what runs in its place. */
export type Instead = readonly [start: string, instead: string]

/**
 * The shell blocks between two headings, one after another. `instead` replaces lines; each must be there.
 * `settings` returns the command that writes the settings of a yaml block.
 * @throws Error for a heading or a start that the page does not have
 */
export function scriptOf(
  page: string,
  [from, to]: readonly [from: string, to: string],
  instead: readonly Instead[],
  settings: (yaml: string) => string = () => '',
): string {
  const text = `\n${readFileSync(join(ROOT, 'docs', page), 'utf8')}`
  const [start, end] = [from, to].map((heading) => text.indexOf(`\n${heading}\n`)) as [number, number]
  if (start < 0 || end < start) throw new Error(`Expected ${from} before ${to} in ${page}.`)
  const unused = new Set(instead)
  const lines = [...text.slice(start, end).matchAll(/^```(sh|yaml)\n(.*?)^```/gms)].flatMap(
    ([, language, block]) =>
      language === 'yaml'
        ? [settings(block!)]
        : block!
            .replaceAll('\\\n', ' ')
            .split('\n')
            .map((line) => {
              const found = instead.find(([start]) => line.startsWith(start))
              if (!found) return line
              unused.delete(found)
              return found[1]
            }),
  )
  if (unused.size > 0) throw new Error(`${page} has no line ${[...unused].map(([start]) => start)}.`)
  return ['set -eEuo pipefail', `trap 'echo "failed: $BASH_COMMAND" >&2' ERR`, ...lines, ''].join('\n')
}

// `glimpse serve` as it ships, with the embedded model.

import { spawn } from 'node:child_process'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '../..')
export const PICTURE = join(ROOT, 'models/demo/crab-and-helicopter.png')
export const CAPTION = 'a crab to the left of a helicopter on a yellow background'

export interface Serve {
  /** What stands behind a label in what it prints. */
  lineOf(label: string): string
  /** Sends SIGTERM. @returns the exit status */
  stop(): Promise<number | null>
}

/** Resolves when it is ready, on a free port that it takes from PORT, as platforms set it. */
export async function startServe(words: readonly string[] = []): Promise<Serve> {
  const env = { ...process.env, PORT: '0' }
  const child = spawn(process.execPath, ['dist/cli/main.js', 'serve', ...words], { cwd: ROOT, env })
  let printed = ''
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (text) => {
      printed += text
      if (printed.includes('Ctrl-C')) resolve()
    })
    child.once('exit', () => reject(new Error(`It ended before it was ready: ${printed}`)))
  })
  return {
    lineOf: (label) => new RegExp(`^ *${label} +(.*)$`, 'm').exec(printed)![1]!,
    stop() {
      const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      return ended
    },
  }
}

// Runs the command line as a process: to its end, or until it serves.

import { execFile, spawn } from 'node:child_process'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '../..')
/** Ends a process that hangs. No verdict depends on it. */
const HANGS_MS = 110_000
const MAIN = join(ROOT, 'dist/cli/main.js')

export interface Result {
  code: number
  out: string
  err: string
}

/** Runs `glimpse` from dist/. */
export function glimpse(args: string[], env: Record<string, string> = {}): Promise<Result> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [MAIN, ...args],
      { cwd: ROOT, env: { ...process.env, ...env }, timeout: HANGS_MS },
      (error, out, err) =>
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err }),
    )
  })
}

export interface Running {
  /** stdout and stderr so far. */
  printed(): string
  /** Sends SIGTERM unless it has exited. @returns the exit status */
  stop(): Promise<number | null>
}

/** Starts a server with PORT 0, which selects a free port. Resolves when it serves or has exited. */
export async function startGlimpse(args: string[], env: Record<string, string> = {}): Promise<Running> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: ROOT,
    env: { ...process.env, PORT: '0', ...env },
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  let printed = ''
  await new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        printed += text
        if (printed.includes('Ctrl-C')) resolve()
      })
    }
    void ended.then(() => resolve())
  })
  return {
    printed: () => printed,
    stop() {
      child.kill('SIGTERM')
      return ended
    },
  }
}

/** Returns the text that `serve` prints after a label. */
export function lineIn(printed: string, label: string): string {
  return new RegExp(`^ *${label} +(.*)$`, 'm').exec(printed)![1]!
}

// The command line as a process of its own.

import { execFile } from 'node:child_process'
import { join } from 'node:path'

export const ROOT = join(import.meta.dirname, '../..')
/** Ends what hangs; no verdict depends on it. */
const HANGS_MS = 110_000

export interface Result {
  code: number
  out: string
  err: string
}

/** Runs `glimpse` as it ships. */
export function glimpse(args: string[], env: Record<string, string> = {}): Promise<Result> {
  return new Promise((resolve) => {
    const command = [join(ROOT, 'dist/cli/main.js'), ...args]
    execFile(
      process.execPath,
      command,
      { cwd: ROOT, env: { ...process.env, ...env }, timeout: HANGS_MS },
      (error, out, err) =>
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err }),
    )
  })
}

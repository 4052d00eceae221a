// The disk an artifact is written to: folders, and what it refuses.

import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { SetupError } from '../errors.ts'

/** Not mkdir's own `recursive`: asked for a folder in /proc, it never returns (Node 20). */
export async function makeFolder(path: string): Promise<void> {
  const parent = dirname(path)
  if (!(await stat(parent).catch(() => undefined))) {
    // Another build may make it meanwhile.
    await makeFolder(parent).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  }
  await mkdir(path)
}

/** What a system call refused, or a path that no system call takes. */
export function isOfDisk(error: unknown): error is NodeJS.ErrnoException {
  return (
    error instanceof Error &&
    ('syscall' in error || ('code' in error && error.code === 'ERR_INVALID_ARG_VALUE'))
  )
}

export function diskError(target: string, cause: NodeJS.ErrnoException, elsewhere = '--out'): SetupError {
  return new SetupError(
    'disk_refused',
    `Expected to write the artifact ${target} but the disk refused: ${cause.message}. Make room, allow writing, or give another ${elsewhere}.`,
    { cause },
  )
}

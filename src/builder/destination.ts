// Where an artifact goes: what may stand there, how the whole of it is put in place, and what a disk refuses.

import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { LANGUAGE, MANIFEST, QUERIES, VISION } from '../artifact/contract.ts'
import { SetupError } from '../errors.ts'
import { filesOf } from '../onnx/write.ts'
import { TOKENIZER_FILES } from '../tokens/tokenizer.ts'

/** Every name an artifact's folder may hold: a folder with any other is not ours to replace. */
const OURS = new Set([
  MANIFEST,
  ...[VISION, QUERIES, LANGUAGE].flatMap(({ graph }) => filesOf(graph)),
  ...TOKENIZER_FILES,
])

/** Throws unless nothing, an empty folder or an artifact stands there: anything else is left alone. */
export async function checkDestination(target: string, optionName = '--out'): Promise<void> {
  const isFile = await stat(target).then(
    (info) => !info.isDirectory(),
    () => false,
  )
  // Nothing is there that cannot be listed: never was, or another build has just moved it aside.
  const names = isFile ? [] : await readdir(target).catch((): string[] => [])
  const foreign = isFile ? basename(target) : names.find((name) => !OURS.has(name))
  if (foreign === undefined && (names.length === 0 || names.includes(MANIFEST))) return
  throw new SetupError(
    'destination_taken',
    `Expected ${target} to be new, empty or an artifact built before, but it holds ${foreign ?? `${names[0]} and no ${MANIFEST}`}. Give another ${optionName}.`,
  )
}

/** A folder can't be renamed onto a full one, so what is there steps aside first, and comes back if that fails. */
export async function moveIntoPlace(partial: string, target: string, optionName?: string): Promise<void> {
  const old = `${target}.old-${randomUUID()}`
  try {
    // More than one turn where another build of the same artifact ends meanwhile: the later one stays.
    while (!(await renamed(partial, target, ['ENOTEMPTY', 'EEXIST']))) {
      await checkDestination(target, optionName)
      await rm(old, { recursive: true, force: true })
      await renamed(target, old, ['ENOENT'])
    }
  } catch (error) {
    await renamed(old, target, ['ENOENT', 'ENOTEMPTY', 'EEXIST'])
    throw error
  }
  await rm(old, { recursive: true, force: true })
}

/** False if the disk refused for one of these reasons. */
async function renamed(from: string, to: string, reasons: string[]): Promise<boolean> {
  return await rename(from, to).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (reasons.includes(error.code ?? '')) return false
      throw error
    },
  )
}

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
export function isFileSystemError(error: unknown): error is NodeJS.ErrnoException {
  return (
    error instanceof Error &&
    ('syscall' in error || ('code' in error && error.code === 'ERR_INVALID_ARG_VALUE'))
  )
}

export function diskError(target: string, cause: NodeJS.ErrnoException, optionName = '--out'): SetupError {
  return new SetupError(
    'disk_refused',
    `Expected to write the artifact ${target} but the disk refused: ${cause.message}. Make room, allow writing, or give another ${optionName}.`,
    { cause },
  )
}

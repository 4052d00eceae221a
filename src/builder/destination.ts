// The destination of an artifact: what it may hold before, how the new folder replaces it, and errors of the disk.

import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { ENCODER, LANGUAGE, MANIFEST, MATCHING, QUERIES, TEXT, VISION } from '../artifact/contract.ts'
import { VERIFIED } from '../artifact/open.ts'
import { SetupError } from '../errors.ts'
import { filesOf } from '../onnx/write.ts'
import { TOKENIZER_FILES } from '../tokens/tokenizer.ts'
import { megabytes } from '../units.ts'

/** Every file of an artifact, but for those of tokenizers. */
const ARTIFACT_FILES = new Set([
  MANIFEST,
  VERIFIED,
  ...[VISION, QUERIES, MATCHING, TEXT, LANGUAGE, ENCODER].flatMap(({ graph }) => filesOf(graph)),
])

/** A folder that holds any other file is not replaced. A second tokenizer's files have a prefix: matching_vocab.txt. */
function isOfArtifact(name: string): boolean {
  return (
    ARTIFACT_FILES.has(name) || TOKENIZER_FILES.some((file) => name === file || name.endsWith(`_${file}`))
  )
}

/** @throws SetupError `destination_taken` unless `target` is absent, an empty folder or an artifact */
export async function checkDestination(target: string, optionName = '--out'): Promise<void> {
  const isFile = await stat(target).then(
    (info) => !info.isDirectory(),
    () => false,
  )
  // readdir fails if there is no folder, also when another build has just moved it away.
  const names = isFile ? [] : await readdir(target).catch((): string[] => [])
  const foreign = isFile ? basename(target) : names.find((name) => !isOfArtifact(name))
  if (foreign === undefined && (names.length === 0 || names.includes(MANIFEST))) return
  throw new SetupError(
    'destination_taken',
    `${target} holds ${foreign ?? `${names[0]} and no ${MANIFEST}`}; expected a new or empty folder, or an artifact. Use another ${optionName}.`,
  )
}

/** rename can't replace a folder with files, so the old one is moved away first, and moved back if that fails. */
export async function moveIntoPlace(partial: string, target: string, optionName?: string): Promise<void> {
  const old = `${target}.old-${randomUUID()}`
  try {
    // Repeats if another build of the same artifact ends at the same time. The later one stays.
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

/** Returns false if rename failed with one of these codes. */
async function renamed(from: string, to: string, codes: string[]): Promise<boolean> {
  return await rename(from, to).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (codes.includes(error.code ?? '')) return false
      throw error
    },
  )
}

/** Makes a folder and its parents unless they exist. mkdir with `recursive` never returns for a folder in /proc (Node 20). */
export async function makeFolder(path: string): Promise<void> {
  const parent = dirname(path)
  if (!(await stat(parent).catch(() => undefined))) await makeFolder(parent)
  await mkdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
}

/** @throws SetupError `disk_full` if the disk of `folder` has less room than `what` needs */
export async function checkRoom(
  folder: string,
  neededBytes: number,
  what: string,
  optionName = '--out',
): Promise<void> {
  const disk = await statfs(folder).catch(() => undefined)
  const freeBytes = disk ? disk.bavail * disk.bsize : Number.POSITIVE_INFINITY
  if (freeBytes >= neededBytes) return
  const message = `Expected ${megabytes(neededBytes)} of room for ${what} but the disk has ${megabytes(freeBytes)}. Make room, or give another ${optionName}.`
  throw new SetupError('disk_full', message)
}

/** A SetupError if a system call failed or Node refused a path; any other error as it is. */
export function asDiskError(error: unknown, target: string, optionName = '--out'): unknown {
  if (!(error instanceof Error)) return error
  if (!('syscall' in error || ('code' in error && error.code === 'ERR_INVALID_ARG_VALUE'))) return error
  return new SetupError(
    'disk_refused',
    `The artifact ${target} can't be written: ${error.message}. Make room, allow writing, or give another ${optionName}.`,
    { cause: error },
  )
}

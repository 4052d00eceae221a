// Store in a folder: one file per key. The modification time of a file is the time at which its value expires.
//
// A value is written to a temporary file, which is then linked or renamed, so a crash leaves no partial value. `create` is
// exclusive between processes too: link(2) fails if the name exists. `replace` compares within this process only, which is
// enough for one answering process per folder; `glimpse listen` beside it replaces nothing by version.

import { randomUUID } from 'node:crypto'
import { link, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { keyedMutex } from '../concurrency.ts'
import { SetupError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { HOUR_MS } from '../time.ts'
import { checkKey, type Store, type Stored } from './store.ts'

/** Prefix of temporary files; no key begins with it. */
const WRITING = '.writing-'
const ABANDONED_MS = HOUR_MS

/** @throws SetupError `no_state` when the folder cannot be created */
export async function openDiskStore(folder: string, now: () => number = Date.now): Promise<Store> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    const message = `Expected a writable folder ${folder} but: ${(cause as Error).message}. Set GLIMPSE_STATE to another one.`
    throw new SetupError('no_state', message, { cause })
  }

  // Makes reading, comparing and writing one step.
  const mutex = keyedMutex()
  const pathOf = (key: string) => join(folder, checkKey(key))

  const read = async (key: string): Promise<Stored | undefined> => {
    const path = pathOf(key)
    try {
      const { mtimeMs } = await stat(path)
      if (mtimeMs <= now()) return undefined
      const bytes = new Uint8Array(await readFile(path))
      return { bytes, version: sha256Hex(bytes), expiresAt: mtimeMs }
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  /** Writes a temporary file and calls `putInPlace` with its path. Returns the version. */
  const write = async (
    path: string,
    bytes: Uint8Array,
    ttlMs: number,
    putInPlace: (from: string) => Promise<void>,
  ) => {
    const partial = join(dirname(path), `${WRITING}${randomUUID()}`)
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    try {
      await writeFile(partial, bytes, { mode: 0o600, flush: true })
      const endsAt = new Date(now() + ttlMs)
      await utimes(partial, endsAt, endsAt)
      await putInPlace(partial)
    } finally {
      await rm(partial, { force: true })
    }
    return sha256Hex(bytes)
  }

  return {
    read,
    create: (key, bytes, ttlMs) =>
      mutex.run([key], async () => {
        const path = pathOf(key)
        const info = await stat(path).catch(() => undefined)
        if (info && info.mtimeMs <= now()) await rm(path, { force: true })
        try {
          return await write(path, bytes, ttlMs, (partial) => linkOnce(partial, path))
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined
          throw error
        }
      }),
    replace: (key, bytes, ttlMs, version) =>
      mutex.run([key], async () => {
        if (version !== undefined && (await read(key))?.version !== version) return undefined
        return await write(pathOf(key), bytes, ttlMs, (partial) =>
          rename(partial, pathOf(key)).catch(async (error: unknown) => {
            // A network file system lost the answer and repeated the call, which found nothing to rename.
            if (!isMissing(error) || (await read(key))?.version !== sha256Hex(bytes)) throw error
          }),
        )
      }),
    remove: (key) => mutex.run([key], () => rm(pathOf(key), { force: true })),
    async list(prefix) {
      const parent = prefix.slice(0, prefix.lastIndexOf('/') + 1)
      const names = await readdir(join(folder, parent)).catch((error: unknown) => {
        if (isMissing(error)) return []
        throw error
      })
      return names
        .filter((name) => !name.startsWith(WRITING))
        .map((name) => `${parent}${name}`)
        .filter((key) => key.startsWith(prefix))
    },
    async sweep() {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true })
      for (const entry of entries.filter((each) => each.isFile())) {
        const path = join(entry.parentPath, entry.name)
        const info = await stat(path).catch(() => undefined)
        if (!info) continue
        // A temporary file may be in use, unless its writer died an hour ago.
        const isExpired = entry.name.startsWith(WRITING)
          ? info.ctimeMs < now() - ABANDONED_MS
          : info.mtimeMs <= now()
        if (isExpired) await rm(path, { force: true })
      }
    },
  }
}

/** A network file system may lose the answer and repeat the call. The name then exists, and the file has both names (open(2), O_EXCL). */
async function linkOnce(partial: string, path: string): Promise<void> {
  await link(partial, path).catch(async (error: unknown) => {
    if ((await stat(partial)).nlink < 2) throw error
  })
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')
}

// A folder that is being filled, and a journal of which pieces are in it: who goes on after a break finds out here.
//
//   <target>.partial-<uuid>/.journal   one JSON a line: who fills it, which version of a file, which pieces of it
//
// The journal's time of change is a heartbeat. A folder whose heart stopped is taken over by renaming it, which one
// process alone can do; while it beats, others wait for the result instead of fetching it too.

import { randomUUID } from 'node:crypto'
import { appendFile, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { isFileSystemError, makeFolder } from '../builder/destination.ts'
import { interrupted } from '../retry.ts'

export interface PartialDownload {
  readonly folder: string
  /** The CRC-32 of a piece that was written, as far as anybody knows. */
  crcOf(path: string, piece: number): number | undefined
  add(path: string, piece: number, crc: number): Promise<void>
  /** Pieces of another version of the file count for nothing from now on. */
  startFile(path: string, version: string): Promise<void>
  dropFile(path: string): Promise<void>
  /** Puts it in its place without the journal. False: another process was faster, or took this folder over. */
  commit(target: string): Promise<boolean>
  /** Left for a later run to go on with. */
  suspend(): Promise<void>
  remove(): Promise<void>
}

const JOURNAL = '.journal'
const BEAT_MS = 500
/** A heart that beats twice a second and was not heard for so long has stopped. */
const SILENT_MS = 10_000
/** Enough when its process is known to be gone. */
const GONE_MS = 2_000
const POLL_MS = 200

const line = z.union([
  z.strictObject({ pieceBytes: z.number(), host: z.string(), pid: z.number() }),
  z.strictObject({ path: z.string(), version: z.string() }),
  z.strictObject({ path: z.string(), piece: z.number(), crc: z.number() }),
])
type Line = z.infer<typeof line>

/** Those this process fills now: its own id says nothing about them. */
const ownFolders = new Set<string>()

/**
 * A folder to fill for `target`, an abandoned one if there is one. Undefined: another process put `target` there
 * meanwhile. `isDone` tells whether it did. Throws what the disk refuses, BusyError `cancelled`.
 */
export async function openPartial(
  target: string,
  pieceBytes: number,
  isDone: () => Promise<boolean>,
  { onWait, signal }: { onWait?: () => void; signal?: AbortSignal } = {},
): Promise<PartialDownload | undefined> {
  const folder = `${target}.partial-${randomUUID()}`
  if (!(await stat(dirname(target)).catch(() => undefined))) await makeParent(dirname(target))
  while (!(await isDone())) {
    if (signal?.aborted) throw interrupted()
    const others = await partialsOf(target)
    const abandoned = others.find(({ isAlive }) => !isAlive)
    if (abandoned) {
      if (await moved(abandoned.folder, folder)) return await fill(folder, pieceBytes)
    } else if (others.length > 0) {
      onWait?.()
      await sleep(POLL_MS)
    } else {
      await makeFolder(folder)
      return await fill(folder, pieceBytes)
    }
  }
  return undefined
}

/** Folders that were never filled, of any target in `parent`, older than that. */
export async function removeAbandoned(parent: string, olderMs: number): Promise<void> {
  for (const name of await readdir(parent).catch((): string[] => [])) {
    if (!name.includes('.partial-')) continue
    const folder = join(parent, name)
    const beat = (await stat(join(folder, JOURNAL)).catch(() => stat(folder))).mtimeMs
    if (Date.now() - beat > olderMs) await rm(folder, { recursive: true, force: true })
  }
}

async function fill(folder: string, pieceBytes: number): Promise<PartialDownload> {
  const journal = join(folder, JOURNAL)
  const pieces = new Map<string, Map<number, number>>()
  const versions = new Map<string, string>()
  let usable = true
  for (const each of await linesOf(journal)) {
    if ('pieceBytes' in each) usable = each.pieceBytes === pieceBytes
    else if (usable) note(each)
  }
  if (!usable) {
    pieces.clear()
    versions.clear()
  }
  function note(each: Exclude<Line, { pieceBytes: number }>) {
    if ('version' in each) {
      if (versions.get(each.path) === each.version) return
      versions.set(each.path, each.version)
      pieces.set(each.path, new Map())
    } else pieces.get(each.path)?.set(each.piece, each.crc)
  }

  // One line after another: two at once would run into each other.
  let written: Promise<void> = Promise.resolve()
  const write = async (each: Line) => {
    written = written.catch(() => {}).then(() => appendFile(journal, `${JSON.stringify(each)}\n`))
    await written
  }
  ownFolders.add(basename(folder))
  const end = () => {
    clearInterval(beating)
    ownFolders.delete(basename(folder))
  }
  const beating = setInterval(() => {
    const now = new Date()
    utimes(journal, now, now).catch(() => {})
  }, BEAT_MS)
  beating.unref()
  try {
    await write({ pieceBytes, host: hostname(), pid: process.pid })
  } catch (error) {
    end()
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  return {
    folder,
    crcOf: (path, piece) => pieces.get(path)?.get(piece),
    async add(path, piece, crc) {
      const each = { path, piece, crc }
      note(each)
      await write(each)
    },
    async startFile(path, version) {
      const each = { path, version }
      note(each)
      await write(each)
    },
    async dropFile(path) {
      const version = versions.get(path) ?? ''
      for (const each of [
        { path, version: '' },
        { path, version },
      ]) {
        note(each)
        await write(each)
      }
    },
    async commit(target) {
      await written
      end()
      await rm(journal, { force: true })
      if (await moved(folder, target)) return true
      await rm(folder, { recursive: true, force: true })
      return false
    },
    async suspend() {
      await written.catch(() => {})
      end()
      // Whoever comes next need not wait for a heart that will not beat.
      const silent = new Date(Date.now() - 2 * SILENT_MS)
      await utimes(journal, silent, silent).catch(() => {})
    },
    async remove() {
      await written.catch(() => {})
      end()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function partialsOf(target: string): Promise<{ folder: string; isAlive: boolean }[]> {
  const prefix = `${basename(target)}.partial-`
  const names = (await readdir(dirname(target))).filter((name) => name.startsWith(prefix))
  return await Promise.all(
    names.map(async (name) => {
      const folder = join(dirname(target), name)
      return { folder, isAlive: await isAlive(folder) }
    }),
  )
}

async function isAlive(folder: string): Promise<boolean> {
  if (ownFolders.has(basename(folder))) return true
  const journal = join(folder, JOURNAL)
  // One that has no journal yet was made just now, or its maker died there.
  const info = await stat(journal).catch(() => stat(folder).catch(() => undefined))
  if (!info) return true // renamed meanwhile: looked for again
  const silentMs = Date.now() - info.mtimeMs
  if (silentMs > SILENT_MS) return false
  const owner = (await linesOf(journal)).findLast((each) => 'pieceBytes' in each)
  return !(owner && owner.host === hostname() && !isProcessAlive(owner.pid) && silentMs > GONE_MS)
}

/** Whether a process of this machine has that id; our own id is another's that is gone, such as a container's before. */
function isProcessAlive(pid: number): boolean {
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** The last line of a process that died may be half a line. */
async function linesOf(journal: string): Promise<Line[]> {
  const text = await readFile(journal, 'utf8').catch(() => '')
  return text.split('\n').flatMap((each) => {
    try {
      const parsed = line.safeParse(JSON.parse(each))
      return parsed.success ? [parsed.data] : []
    } catch {
      return []
    }
  })
}

async function makeParent(folder: string): Promise<void> {
  await makeFolder(folder).catch((error: unknown) => {
    // Another process made it.
    if (!isFileSystemError(error) || error.code !== 'EEXIST') throw error
  })
}

/** False if something stands there, or nothing is here any more. */
async function moved(from: string, to: string): Promise<boolean> {
  return await rename(from, to).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(error.code ?? '')) return false
      throw error
    },
  )
}

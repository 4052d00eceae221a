// Folders -> the picture files below them, with size and modification time, in alphabetical order.
//
// Links to files are followed, links to folders are not: so there are no loops. A file is taken by the ending of its name;
// whether it is a picture is found out when it is read.

import type { Dirent } from 'node:fs'
import { lstat, readdir, stat } from 'node:fs/promises'
import { basename, join, relative, resolve, sep } from 'node:path'
import picomatch from 'picomatch'
import { SetupError } from '../errors.ts'

export interface FoundFile {
  path: string
  sizeBytes: number
  modifiedMs: number
}

export interface Skipped {
  path: string
  why: string
}

export interface WalkOptions {
  /** Whether files and folders whose name begins with a dot are taken. Default: no. */
  hidden?: boolean
  /** Globs. One without a slash is compared with each name, one with a slash with the path below the folder. */
  exclude?: readonly string[]
  /** Whether folders below a folder are taken. Default: yes. */
  recursive?: boolean
  /** Whether links to nothing, and names that are not UTF-8, are among the unread. Default: no. */
  reportsMissing?: boolean
  signal?: AbortSignal
}

export interface Walk {
  files: FoundFile[]
  /** Files and folders that could not be read. What is indexed of them stays. */
  unread: Skipped[]
}

/** Formats that are read, and those that people keep beside them and want to hear of: HEIC and the raw files of cameras. */
const ENDINGS =
  /\.(jpe?g|jpe|jfif|png|webp|gif|avif|tiff?|hei[cf]|jxl|bmp|arw|cr[23w]|dng|nef|orf|pef|raf|raw|rw2|srw)$/i

/** What Node reads bytes of a name as that are not UTF-8. No file is found by it. */
const NOT_UTF8 = '\ufffd'

/** @throws SetupError `no_folder` when one of `roots` does not exist */
export async function findPictures(roots: readonly string[], options: WalkOptions = {}): Promise<Walk> {
  const { hidden = false, exclude = [], recursive = true, reportsMissing = false, signal } = options
  const isExcluded = matcherOf(exclude)
  const files = new Map<string, FoundFile>()
  const unread: Skipped[] = []
  const skip = (path: string, cause: unknown) => unread.push({ path, why: reasonOf(cause) })

  const take = async (path: string) => {
    try {
      const found = await stat(path)
      if (found.isFile()) files.set(path, { path, sizeBytes: found.size, modifiedMs: found.mtimeMs })
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException
      // A link to nothing, or a file that was removed just now.
      if (code !== 'ENOENT') skip(path, cause)
      else if (reportsMissing && path.includes(NOT_UTF8)) unread.push({ path, why: 'its name is not UTF-8' })
      else if (reportsMissing && (await isLink(path))) unread.push({ path, why: 'it is a link to nothing' })
    }
  }
  const visit = async (root: string, folder: string) => {
    signal?.throwIfAborted()
    let entries: Dirent[]
    try {
      entries = await readdir(folder, { withFileTypes: true })
    } catch (cause) {
      return void skip(folder, cause)
    }
    for (const entry of entries) {
      const path = join(folder, entry.name)
      if ((!hidden && entry.name.startsWith('.')) || isExcluded(relative(root, path))) continue
      if (entry.isDirectory()) {
        if (recursive) await visit(root, path)
      } else if (ENDINGS.test(entry.name) && (entry.isFile() || entry.isSymbolicLink())) await take(path)
    }
  }
  for (const root of roots.map((path) => resolve(path))) {
    const found = await stat(root).catch((cause: unknown) => {
      const message = `Expected a folder or a picture at ${root} but ${reasonOf(cause)}. Check the path, and that its disk is mounted. Nothing was changed.`
      throw new SetupError('no_folder', message, { cause })
    })
    if (found.isDirectory()) await visit(root, root)
    else await take(root)
  }
  const sorted = [...files.values()].sort((one, other) => (one.path < other.path ? -1 : 1))
  return { files: sorted, unread }
}

/**
 * What a glob means: the folder that it begins at, and which paths below that it names.
 * @example globOf('photos/*.jpg') // {folder: 'photos', names: (path) => ...}
 */
export function globOf(glob: string): { folder: string; names(path: string): boolean } {
  const { base, glob: rest } = picomatch.scan(glob)
  const isMatch = picomatch(rest)
  return { folder: base === '' ? '.' : base, names: (path) => isMatch(path.split(sep).join('/')) }
}

export function isGlob(text: string): boolean {
  return picomatch.scan(text).isGlob
}

async function isLink(path: string): Promise<boolean> {
  return await lstat(path).then(
    (found) => found.isSymbolicLink(),
    () => false,
  )
}

/** Beginnings of the ids of everything below the roots; a root that is a file is its own. */
export function beginningsOf(roots: readonly string[]): string[] {
  return roots.map((path) => resolve(path)).map((path) => (path.endsWith(sep) ? path : `${path}${sep}`))
}

function matcherOf(globs: readonly string[]): (path: string) => boolean {
  const [paths, names] = [
    globs.filter((glob) => glob.includes('/')),
    globs.filter((glob) => !glob.includes('/')),
  ]
  const options = { dot: true }
  // `a/b/` means the folder and what is in it, which is not visited then.
  const isPath = picomatch(
    paths.map((glob) => glob.replace(/^\.?\/|\/$/g, '')),
    options,
  )
  const isName = picomatch(names, options)
  return (path) => {
    const slashed = path.split(sep).join('/')
    return (paths.length > 0 && isPath(slashed)) || (names.length > 0 && isName(basename(path)))
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'this user may not read it',
  EPERM: 'this user may not read it',
  ENOENT: 'it does not exist',
  ELOOP: 'its links lead in a circle',
  ENAMETOOLONG: 'its path is too long',
}

/** `it does not exist`: why a file or folder could not be read. */
export function reasonOf(cause: unknown): string {
  const { code = '', message } = cause as NodeJS.ErrnoException
  return REASONS[code] ?? message
}

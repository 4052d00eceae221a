// Names on the command line -> the pictures that they mean: files, folders, globs, and lists of names.
//
// A name that means nothing is a picture that cannot be read, so that it has its row too.

import { stat } from 'node:fs/promises'
import { isAbsolute, relative, resolve, sep } from 'node:path'
import { findPictures, globOf, isGlob, reasonOf, type WalkOptions } from '../search/walk.ts'

export interface NamedPicture {
  /** As it is written into a row: absolute where the name on the command line is, else below the current folder. */
  image: string
  /** Absolute. */
  path: string
  sizeBytes: number
  /** Why it cannot be read. */
  fault?: string
}

export interface NamedPictures {
  pictures: NamedPicture[]
  /** Folders that could not be read, and why. */
  unreadFolders: { path: string; why: string }[]
  /** Absolute paths of the folders that were looked through. */
  folders: string[]
}

/** In the order of the names; within a folder in alphabetical order. A picture that is named twice is one. */
export async function picturesNamed(
  names: readonly string[],
  options: WalkOptions = {},
): Promise<NamedPictures> {
  const pictures = new Map<string, NamedPicture>()
  const unreadFolders: NamedPictures['unreadFolders'] = []
  const folders: string[] = []
  for (const name of names) {
    const add = (path: string, sizeBytes: number, fault?: string) => {
      const image = isAbsolute(name) ? path : relative('', path)
      if (!pictures.has(path)) pictures.set(path, { image, path, sizeBytes, fault })
    }
    const walk = async (folder: string, more: WalkOptions, isNamed: (path: string) => boolean) => {
      const root = resolve(folder)
      folders.push(root)
      const { files, unread } = await findPictures([root], { ...options, ...more, reportsMissing: true })
      const wanted = (path: string) => isNamed(path.slice(root.length).split(sep).filter(Boolean).join('/'))
      for (const { path, sizeBytes } of files) if (wanted(path)) add(path, sizeBytes)
      for (const { path, why } of unread) {
        const isFolder = await stat(path).then(
          (found) => found.isDirectory(),
          () => false,
        )
        if (isFolder) unreadFolders.push({ path, why })
        else if (wanted(path)) add(path, 0, why)
      }
    }
    const found = await stat(name).catch((cause: NodeJS.ErrnoException) => cause)
    if (!(found instanceof Error)) {
      if (found.isDirectory()) await walk(name, {}, () => true)
      else add(resolve(name), found.size, found.isFile() ? undefined : 'it is no file')
    } else if (found.code === 'ENOENT' && isGlob(name)) {
      const { folder, names: isNamed } = globOf(name)
      const before = pictures.size + unreadFolders.length
      const isThere = await stat(folder).then(
        (at) => at.isDirectory(),
        () => false,
      )
      if (isThere) await walk(folder, { recursive: true }, isNamed)
      if (pictures.size + unreadFolders.length === before) add(resolve(name), 0, 'no picture fits it')
    } else add(resolve(name), 0, reasonOf(found))
  }
  return { pictures: [...pictures.values()], unreadFolders, folders }
}

/** The names of a list: one a line, or separated by zero bytes, as `find -print0` does for names with line breaks. */
export function namesIn(list: string): string[] {
  const names = list.includes('\0') ? list.split('\0') : list.split(/\r?\n/)
  return names.filter((name) => name !== '')
}

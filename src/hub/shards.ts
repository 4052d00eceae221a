// The weights of a repository, as the builder reads them. Headers are read first. The files are downloaded in order, one
// at a time: the next one while the builder reads the current one.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { indexOf, parseHeader, rowsIn, type TensorFiles } from '../checkpoint/safetensors.ts'
import { retry } from '../retry.ts'
import { stopWith } from '../stop.ts'
import { download } from './download.ts'
import { type Hub, readStart, request } from './http.ts'
import { type HubFile, pathOf, type Repository } from './repository.ts'

export interface ShardsOptions {
  folder: string
  /** Whether the files stay on disk after they are built. */
  keep: boolean
  onBytes: (count: number) => void
}

/** `files` are downloaded in their order. Throws ArtifactError about a header, and the errors of `download`. */
export async function openShards(
  hub: Hub,
  repository: Repository,
  files: readonly HubFile[],
  { folder, keep, onBytes }: ShardsOptions,
): Promise<TensorFiles> {
  const headers = []
  for (const file of files) {
    const what = `${file.path} of ${repository.name}`
    // Always from byte 0, because a server without ranges sends the file from there.
    const read = async (position: number, length: number) => {
      const end = Math.min(file.sizeBytes, position + length)
      const start = await retry(hub, what, async () =>
        readStart(hub, await request(hub, pathOf(repository, file.path), what, `0-${end - 1}`), end),
      )
      return start.subarray(position)
    }
    headers.push((await parseHeader(file.path, file.sizeBytes, read)).entries)
  }

  const stop = stopWith(hub.signal)
  // A file that an earlier run has built is not read, so its download never starts.
  const downloads = new Map<number, Promise<void>>()
  let last = Promise.resolve()
  const start = (index: number): Promise<void> | undefined => {
    const file = files[index]
    if (file && !downloads.has(index)) {
      last = last.then(() => download({ ...hub, signal: stop.signal }, repository, file, folder, onBytes))
      last.catch(() => {}) // Prevents an unhandled rejection; the error surfaces where the promise is awaited.
      downloads.set(index, last)
    }
    return downloads.get(index)
  }
  return {
    entries: indexOf(headers),
    sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    files: files.map(({ path }) => path),
    async *rows(entry) {
      const index = files.findIndex(({ path }) => path === entry.file)
      if (downloads.size === 0) for (const { sizeBytes } of files.slice(0, index)) onBytes(sizeBytes)
      await start(index)
      start(index + 1)
      yield* rowsIn(folder, entry)
    },
    async release(file) {
      if (!keep) await rm(join(folder, file), { force: true })
    },
    async close() {
      stop.abort()
      await Promise.allSettled(downloads.values())
      stop.end()
    },
  }
}

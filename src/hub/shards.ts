// The weights of a repository, as the builder reads them. Headers are read first. The files are downloaded in order, one
// at a time: the next one while the builder reads the current one.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { indexOf, parseHeader, rowsIn, type TensorFiles } from '../checkpoint/safetensors.ts'
import { retry } from '../retry.ts'
import { stopWith } from '../stop.ts'
import { download } from './download.ts'
import { readStart, request } from './http.ts'
import { addressOf, type HubFile, type Repository } from './repository.ts'

/** `files` are downloaded in their order. With `keep` they stay on disk after they are built. Throws ArtifactError about a header, and the errors of `download`. */
export async function openShards(
  repository: Repository,
  files: readonly HubFile[],
  { folder, keep, onBytes }: { folder: string; keep: boolean; onBytes: (count: number) => void },
): Promise<TensorFiles> {
  const { hub } = repository
  const headers = []
  for (const file of files) {
    const { path, what } = addressOf(repository, file.path)
    // Always from byte 0, because a server without ranges sends the file from there.
    const read = async (position: number, length: number) => {
      const end = Math.min(file.sizeBytes, position + length)
      const range = { headers: { range: `bytes=0-${end - 1}` } }
      const start = await retry(hub, `Fetching ${what}`, async () =>
        readStart(hub, await request(hub, path, what, range), end),
      )
      return start.subarray(position)
    }
    headers.push((await parseHeader(file.path, file.sizeBytes, read)).entries)
  }

  const stop = stopWith(hub.signal)
  const stoppable = { ...repository, hub: { ...hub, signal: stop.signal } }
  // A file that an earlier run has built is not read, so its download never starts.
  const downloads: Promise<void>[] = []
  let last = Promise.resolve()
  const start = async (index: number) => {
    const file = files[index]
    if (!file) return
    downloads[index] ??= last = last.then(() => download(stoppable, file, folder, onBytes))
    await downloads[index]
  }
  return {
    entries: indexOf(headers),
    sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    files: files.map(({ path }) => path),
    async *rows(entry) {
      const index = files.findIndex(({ path }) => path === entry.file)
      if (downloads.length === 0) for (const { sizeBytes } of files.slice(0, index)) onBytes(sizeBytes)
      await start(index)
      start(index + 1).catch(() => {}) // the error surfaces where the file is read
      yield* rowsIn(folder, entry)
    },
    async release(file) {
      if (!keep) await rm(join(folder, file), { force: true })
    },
    async close() {
      stop.abort()
      await Promise.allSettled(downloads)
      stop.end()
    },
  }
}

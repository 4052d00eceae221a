// A repository's weights as the builder reads them, before they are here: headers at once, then file after file, the
// next one on its way while one is built.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { indexOf, parseHeader, rowsIn, type TensorFiles } from '../checkpoint/safetensors.ts'
import { stopWith } from '../stop.ts'
import { download, readRange } from './download.ts'
import type { Hub } from './http.ts'
import type { HubFile, Repository } from './repository.ts'

/** Enough for most headers, so that one request does. */
const HEADER_GUESS_BYTES = 256 * 1024

export interface ShardsOptions {
  folder: string
  /** Leave the files when they are built. */
  keep: boolean
  onBytes: (count: number) => void
}

/** Throws ArtifactError about headers, and what downloads throw. `files` are in the order they will arrive. */
export async function openShards(
  hub: Hub,
  repository: Repository,
  files: readonly HubFile[],
  { folder, keep, onBytes }: ShardsOptions,
): Promise<TensorFiles> {
  const headers = []
  for (const file of files) {
    let known = new Uint8Array(0)
    const read = async (position: number, length: number) => {
      const end = Math.min(file.sizeBytes, position + length)
      if (known.length < end) {
        const wanted = Math.min(file.sizeBytes, Math.max(end, HEADER_GUESS_BYTES))
        known = new Uint8Array(await readRange(hub, repository, file, 0, wanted))
      }
      return known.subarray(position, end)
    }
    headers.push((await parseHeader(file.path, file.sizeBytes, read)).entries)
  }

  const stop = stopWith(hub.signal)
  // One at a time, in order; what an earlier run has built is never asked for, and never fetched.
  const arrivals = new Map<number, Promise<void>>()
  let last: Promise<unknown> = Promise.resolve()
  const arrive = (index: number): Promise<void> | undefined => {
    const file = files[index]
    if (file && !arrivals.has(index)) {
      const arrival = last.then(() =>
        download({ ...hub, signal: stop.signal }, repository, file, folder, onBytes),
      )
      arrival.catch(() => {}) // told where it is awaited
      arrivals.set(index, arrival)
      last = arrival
    }
    return arrivals.get(index)
  }
  return {
    entries: indexOf(headers),
    sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    files: files.map(({ path }) => path),
    async *rows(entry) {
      const index = files.findIndex(({ path }) => path === entry.file)
      if (arrivals.size === 0) for (const { sizeBytes } of files.slice(0, index)) onBytes(sizeBytes)
      await arrive(index)
      arrive(index + 1)
      yield* rowsIn(folder, entry)
    },
    async release(file) {
      if (!keep) await rm(join(folder, file), { force: true })
    },
    close: async () => {
      stop.abort()
      await Promise.allSettled(arrivals.values())
      stop.end()
    },
  }
}

// One file of a repository -> the same file on this disk, whole and as its checksum says.
//
// What has arrived stays in `<file>.part`, so a break, here or of the process, costs only what was on the way.

import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { UpstreamError } from '../errors.ts'
import { retry, TransientError } from '../retry.ts'
import { bodyChunks, type Hub, request } from './http.ts'
import { type HubFile, pathOf, type Repository } from './repository.ts'

/** Written and counted at once; the network's own pieces are small. */
const READ_BYTES = 4 * 1024 * 1024

/**
 * Throws UpstreamError `bad_checksum` if the file is wrong twice, RequestError, BusyError `cancelled`, and what the disk
 * refuses. `onBytes` is told how many more bytes are here; fewer where a file begins anew.
 */
export async function download(
  hub: Hub,
  repository: Repository,
  file: HubFile,
  folder: string,
  onBytes: (count: number) => void = () => {},
): Promise<void> {
  const whole = join(folder, file.path)
  const part = `${whole}.part`
  if ((await sizeOf(whole)) === file.sizeBytes && (await isRight(whole, file))) return onBytes(file.sizeBytes)
  for (let attempt = 1; ; attempt++) {
    await fetchInto(part, hub, repository, file, onBytes)
    if (await isRight(part, file)) return await rename(part, whole)
    onBytes(-file.sizeBytes)
    await rm(part, { force: true })
    if (attempt === 2) {
      throw new UpstreamError(
        'bad_checksum',
        `Expected ${file.path} with the ${file.checksum.kind} ${file.checksum.hex} but twice something else arrived. The hub's copy, or something on the way, is damaged: try later.`,
      )
    }
  }
}

/** Some bytes of a file, without keeping them. */
export async function readRange(
  hub: Hub,
  repository: Repository,
  file: HubFile,
  position: number,
  length: number,
): Promise<Uint8Array> {
  const what = `${file.path} of ${repository.name}`
  return await retry(hub, what, async () => {
    const range = { from: position, to: position + length - 1 }
    const { response, offset } = await request(hub, pathOf(repository, file.path), what, range)
    const skip = position - offset
    const pieces: Uint8Array[] = []
    let bytes = 0
    for await (const piece of bodyChunks(hub, response)) {
      pieces.push(piece)
      bytes += piece.length
      if (bytes >= skip + length) break
    }
    return new Uint8Array(Buffer.concat(pieces).subarray(skip, skip + length))
  })
}

async function fetchInto(
  part: string,
  hub: Hub,
  repository: Repository,
  file: HubFile,
  onBytes: (count: number) => void,
): Promise<void> {
  const what = `${file.path} of ${repository.name}`
  let have = Math.min((await sizeOf(part)) ?? 0, file.sizeBytes)
  onBytes(have)
  // A server that knows no ranges begins anew each time: only what was never here before is progress.
  let most = have
  const handle = await open(part, have > 0 ? 'r+' : 'w')
  try {
    await handle.truncate(have)
    await retry(hub, what, async (progressed) => {
      if (have === file.sizeBytes) return
      const { response, offset } = await request(hub, pathOf(repository, file.path), what, { from: have })
      if (offset !== have) {
        // The server knows no ranges: from the start again.
        onBytes(-have)
        have = 0
        await handle.truncate(0)
      }
      for await (const piece of bodyChunks(hub, response)) {
        if (have + piece.length > file.sizeBytes) {
          throw new UpstreamError(
            'bad_answer',
            `Expected ${file.sizeBytes} bytes of ${what} but more arrived. Check --endpoint.`,
          )
        }
        for (let done = 0; done < piece.length; ) {
          const { bytesWritten } = await handle.write(piece, done, piece.length - done, have)
          done += bytesWritten
          have += bytesWritten
          onBytes(bytesWritten)
        }
        if (have > most) progressed()
        most = Math.max(most, have)
      }
      if (have < file.sizeBytes) throw new TransientError(`it ended after ${have} of ${file.sizeBytes} bytes`)
    })
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function isRight(path: string, { sizeBytes, checksum: { kind, hex } }: HubFile): Promise<boolean> {
  const hash: Hash = createHash(kind === 'sha256' ? 'sha256' : 'sha1')
  if (kind === 'git-sha1') hash.update(`blob ${sizeBytes}\0`)
  for await (const bytes of createReadStream(path, { highWaterMark: READ_BYTES })) hash.update(bytes)
  return hash.digest('hex') === hex
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size
}

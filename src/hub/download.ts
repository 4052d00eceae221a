// A file of a repository -> the same file on disk, complete and with the right checksum.
//
// Received bytes stay in `<file>.part`. After a broken connection or a killed process the rest is fetched.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { UpstreamError } from '../errors.ts'
import { retry, TransientError } from '../retry.ts'
import { bodyChunks, request } from './http.ts'
import { addressOf, type HubFile, type Repository } from './repository.ts'

const READ_BYTES = 4 * 1024 * 1024

/** Called with the number of bytes added; it is negative when the file is fetched from its start again. */
type OnBytes = (count: number) => void

/**
 * Skips a file that is complete on disk.
 * @throws UpstreamError `bad_checksum` if the checksum is wrong twice, RequestError, BusyError `cancelled`, and errors of
 * the file system
 */
export async function download(
  repository: Repository,
  file: HubFile,
  folder: string,
  onBytes: OnBytes = () => {},
): Promise<void> {
  const whole = join(folder, file.path)
  const part = `${whole}.part`
  if (await isComplete(whole, file)) return onBytes(file.sizeBytes)
  for (let attempt = 1; attempt <= 2; attempt++) {
    await fetchPart(part, repository, file, onBytes)
    if (await isComplete(part, file)) return await rename(part, whole)
    onBytes(-file.sizeBytes)
    await rm(part)
  }
  const message = `The checksum of ${file.path} was wrong twice; expected ${file.checksum}. The hub's copy or a proxy is faulty. Try again later.`
  throw new UpstreamError('bad_checksum', message)
}

async function fetchPart(part: string, repository: Repository, file: HubFile, onBytes: OnBytes) {
  const { hub } = repository
  const { path, what } = addressOf(repository, file.path)
  const handle = await open(part, 'a')
  try {
    let received = Math.min((await handle.stat()).size, file.sizeBytes)
    await handle.truncate(received)
    onBytes(received)
    await retry(hub, `Fetching ${what}`, async (progressed) => {
      if (received === file.sizeBytes) return
      const headers = received > 0 ? { range: `bytes=${received}-` } : undefined
      const response = await request(hub, path, what, { headers })
      const isResumed = response.status === 206
      if (!isResumed && received > 0) {
        onBytes(-received)
        received = 0
        await handle.truncate(0)
      }
      for await (const chunk of bodyChunks(hub, response)) {
        received += chunk.length
        if (received > file.sizeBytes) {
          const message = `The hub sent more than ${file.sizeBytes} bytes of ${what}. Check --endpoint.`
          throw new UpstreamError('bad_answer', message)
        }
        await handle.appendFile(chunk)
        onBytes(chunk.length)
        // Without ranges each attempt begins at byte 0, which is no progress.
        if (isResumed) progressed()
      }
      if (received < file.sizeBytes) {
        throw new TransientError(`the connection ended after ${received} of ${file.sizeBytes} bytes`)
      }
    })
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function isComplete(path: string, { sizeBytes, checksum }: HubFile): Promise<boolean> {
  if ((await stat(path).catch(() => undefined))?.size !== sizeBytes) return false
  const isGit = checksum.length === 40
  const hash = createHash(isGit ? 'sha1' : 'sha256')
  if (isGit) hash.update(`blob ${sizeBytes}\0`)
  for await (const bytes of createReadStream(path, { highWaterMark: READ_BYTES })) hash.update(bytes)
  return hash.digest('hex') === checksum
}

// Speed of concurrent ranged reads of an artifact: npx tsx bench/fetch-model.ts [megabytes] [MB/s of one stream]
//
// A double of S3 in another process limits each connection to the rate of one S3 stream (about 55 MB/s was published for
// Lambda). The time covers a whole load: manifest, ranges, sha256 of every byte, files on the local disk.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fetchArtifact } from '../src/transfer/fetch.ts'
import { type S3Double, startS3Double } from '../test/store/s3-double.ts'
import { credentials, makeModel, PIECE_BYTES, upload } from '../test/transfer/model.ts'

const MEGABYTES = Number(process.argv[2] ?? 256)
const RATE_MB = Number(process.argv[3] ?? 55)
const RUNS = 3
const COUNTS = [1, 12]

if (process.send) await serve()
else await measure()

async function serve(): Promise<void> {
  const s3 = await startS3Double('models')
  upload(s3, makeModel(1, { 'language.data': (MEGABYTES * 1e6) / PIECE_BYTES, 'tokenizer.json': 1 }))
  s3.bytesPerSecond = RATE_MB * 1e6
  process.send!(s3.endpoint)
}

async function measure(): Promise<void> {
  const child = fork(import.meta.filename, [String(MEGABYTES), String(RATE_MB)])
  const [endpoint] = (await once(child, 'message')) as [string]
  const client = { ...credentials({ endpoint } as S3Double) }
  const times = new Map(COUNTS.map((count): [number, number[]] => [count, []]))
  const cpu = new Map<number, number>()
  // Alternating, so that other work on the machine affects both alike.
  for (let run = 0; run < RUNS; run++) {
    for (const count of COUNTS) {
      const cacheFolder = await mkdtemp(join(tmpdir(), 'glimpse-bench-'))
      const began = performance.now()
      const used = process.cpuUsage()
      await fetchArtifact('s3://models/model', { cacheFolder, client, streams: { count } })
      times.get(count)!.push((performance.now() - began) / 1000)
      const { user, system } = process.cpuUsage(used)
      cpu.set(count, (user + system) / 1e6)
      await rm(cacheFolder, { recursive: true })
    }
  }
  child.kill()
  const median = (count: number) => times.get(count)!.sort((a, b) => a - b)[RUNS >> 1]!
  console.log(`${MEGABYTES} MB, ${RATE_MB} MB/s for each stream, median of ${RUNS}`)
  for (const count of COUNTS) {
    const seconds = median(count)
    console.log(
      `${String(count).padStart(3)} streams ${seconds.toFixed(2).padStart(7)} s ${(MEGABYTES / seconds).toFixed(0).padStart(5)} MB/s, ${cpu.get(count)!.toFixed(2)} s of CPU time in the last run`,
    )
  }
  console.log(`${(median(1) / median(12)).toFixed(1)} times as fast`)
  console.log(`peak memory ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MB`)
  process.exit()
}

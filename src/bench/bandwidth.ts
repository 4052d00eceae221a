// How fast this machine reads memory with so many threads: what making a token, which reads every weight once, can
// be held against.

import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { timeReading } from '../quantize/kernels.ts'

/** Far more than caches hold. */
const BYTES = 256 * 1024 * 1024
const TIMES = 4

/** Bytes a second. */
export async function readBandwidth(threads = availableParallelism()): Promise<number> {
  // Node runs no TypeScript in a thread: under a test runner that reads src/, the compiled file is taken.
  const file = new URL(
    import.meta.url.endsWith('.ts') ? '../../dist/bench/bandwidth.js' : import.meta.url,
    import.meta.url,
  )
  const start = new SharedArrayBuffer(4)
  const times = await Promise.all(
    Array.from(
      { length: threads },
      () =>
        new Promise<number>((resolve, reject) => {
          const worker = new Worker(file, { workerData: { start, threads } })
          let ms = Number.NaN
          worker.once('message', (measured: number) => {
            ms = measured
          })
          worker.once('error', reject)
          worker.once('exit', () => resolve(ms)) // what it read is given back
        }),
    ),
  )
  return (threads * BYTES * TIMES * 1000) / Math.max(...times)
}

if (!isMainThread && workerData?.start) {
  const { start, threads } = workerData as { start: SharedArrayBuffer; threads: number }
  timeReading(BYTES, 1) // memory is there, code is compiled
  // All read at the same time: each waits for the last.
  const arrived = new Int32Array(start)
  Atomics.add(arrived, 0, 1)
  while (Atomics.load(arrived, 0) < threads);
  parentPort!.postMessage(timeReading(BYTES, TIMES))
}

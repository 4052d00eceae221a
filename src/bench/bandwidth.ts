// A number of threads -> the memory bandwidth of this machine: the limit for a token, which reads every weight once.

import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

/** Per thread: far more than the processor's caches hold. */
const BYTES = 256 * 1024 * 1024
const TIMES = 4

/** Bytes per second that `threads` threads read in parallel. */
export async function readBandwidth(threads: number): Promise<number> {
  // Node cannot run TypeScript in a worker thread. Tests, which run src/, use the compiled file.
  const file = new URL(
    import.meta.url.endsWith('.ts') ? '../../dist/bench/bandwidth.js' : import.meta.url,
    import.meta.url,
  )
  const start = new SharedArrayBuffer(4)
  const timeOfThread = async (): Promise<number> => {
    const worker = new Worker(file, { workerData: { start, threads } })
    // Its memory is free after its exit.
    const [[ms]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
    return ms
  }
  const times = await Promise.all(Array.from({ length: threads }, timeOfThread))
  return (threads * BYTES * TIMES * 1000) / Math.max(...times)
}

if (!isMainThread && workerData?.start) {
  const { start, threads } = workerData as { start: SharedArrayBuffer; threads: number }
  const memory = Buffer.alloc(BYTES, 1) // written, because untouched pages all map to one zero page
  // Each thread waits for the last, so that all read at the same time.
  const arrived = new Int32Array(start)
  Atomics.add(arrived, 0, 1)
  while (Atomics.load(arrived, 0) < threads);
  const startMs = performance.now()
  for (let i = 0; i < TIMES; i++) memory.indexOf(2) // reads every byte once, by the C library's memchr
  parentPort!.postMessage(performance.now() - startMs)
}

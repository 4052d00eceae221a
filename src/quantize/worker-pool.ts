// Pieces of a weight -> packed pieces in the same order, packed on all cores. Also the entry point of the worker threads.
//
// Small pieces are packed in the calling thread: starting a worker takes longer than packing them.

import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { deserializeError, type SerializedError, serializeError } from '../errors.ts'
import { type Packed, type PackFormat, pack } from './kernels.ts'
import type { Values } from './matrix.ts'

/** Arguments of kernels.ts `pack`. */
type PackTask = [values: Values, inputs: number, format: PackFormat]

/** Smaller pieces are packed in the calling thread. */
const SMALL_BYTES = 256 * 1024
const MARK = 'glimpse packing'
// Node 20 runs no TypeScript in a worker thread: when src/ is run directly, workers run the compiled file.
const FILE = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/quantize/worker-pool.js' : import.meta.url,
  import.meta.url,
)

/** Packs each piece, of whole rows of `inputs` values. At most one piece more than there are cores is in progress. */
export async function* packInOrder(
  pieces: AsyncIterable<Values>,
  inputs: number,
  format: PackFormat,
): AsyncGenerator<Packed> {
  const pending: Promise<Packed>[] = []
  for await (const values of pieces) {
    const task: PackTask = [values, inputs, format]
    const packed = values.bytes.length < SMALL_BYTES ? Promise.resolve(pack(...task)) : packInWorker(task)
    packed.catch(() => {}) // prevents an unhandled rejection; the error surfaces where `pending` is awaited
    pending.push(packed)
    if (pending.length > availableParallelism()) yield await pending.shift()!
  }
  for (const packed of pending) yield await packed
}

interface PackWorker {
  worker: Worker
  /** Tasks sent and not answered, oldest first. */
  waiting: { resolve(packed: Packed): void; reject(error: Error): void }[]
}

let workers: PackWorker[] = []
let users = 0

/** Runs `work`; ends the worker threads that packing starts when the last concurrent call of this function ends. */
export async function withWorkers<T>(work: () => Promise<T>): Promise<T> {
  users++
  try {
    return await work()
  } finally {
    users--
    if (users === 0) await Promise.all(workers.splice(0).map(({ worker }) => worker.terminate()))
  }
}

/** postMessage copies the values, so the caller may overwrite the piece. */
function packInWorker(task: PackTask): Promise<Packed> {
  if (workers.length === 0) workers = Array.from({ length: availableParallelism() }, startWorker)
  const idlest = workers.reduce((best, one) => (one.waiting.length < best.waiting.length ? one : best))
  return new Promise((resolve, reject) => {
    idlest.waiting.push({ resolve, reject })
    idlest.worker.postMessage(task)
  })
}

function startWorker(): PackWorker {
  const worker = new Worker(FILE, { workerData: MARK })
  const packWorker: PackWorker = { worker, waiting: [] }
  worker.on('message', ({ packed, error }: { packed: Packed; error?: SerializedError }) => {
    const task = packWorker.waiting.shift()!
    if (error) task.reject(deserializeError(error))
    else task.resolve(packed)
  })
  worker.on('error', (error) => {
    workers = workers.filter((one) => one !== packWorker)
    for (const task of packWorker.waiting.splice(0)) task.reject(error)
  })
  return packWorker
}

if (!isMainThread && workerData === MARK) {
  parentPort!.on('message', (task: PackTask) => {
    try {
      const packed = pack(...task)
      const buffers = Object.values(packed).map((bytes: Uint8Array) => bytes.buffer as ArrayBuffer)
      parentPort!.postMessage({ packed }, buffers)
    } catch (error) {
      parentPort!.postMessage({ error: serializeError(error) })
    }
  })
}

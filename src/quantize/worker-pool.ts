// Packing on all cores: pieces of weights go to threads and come back in order. Also the threads' own entry point.
//
// Small weights are packed where they are: a thread takes longer to start than they take to pack.

import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { deserializeError, type SerializedError, serializeError } from '../errors.ts'
import { type PackedBlocks, type PackedChannels, packBlocks, packPerChannel } from './kernels.ts'
import type { Values } from './matrix.ts'

/** What a job makes of `inputs` values a row. */
export interface PackTasks {
  blocks: { how: { inputs: number; bits: 4 | 8; block: number }; made: PackedBlocks }
  columns: { how: { inputs: number }; made: PackedChannels }
}
type Kind = keyof PackTasks

interface Task {
  kind: Kind
  values: Values
  how: PackTasks[Kind]['how']
}

/** Below this a piece is packed here. */
const SMALL_BYTES = 256 * 1024
const MARK = 'glimpse packing'
// Node runs no TypeScript in a thread: under a test runner that reads src/, the compiled file is taken.
const FILE = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/quantize/worker-pool.js' : import.meta.url,
  import.meta.url,
)

/** What each piece becomes, in the order of the pieces; as many are under way as there are cores. */
export async function* packInOrder<K extends Kind>(
  pieces: AsyncIterable<Values>,
  kind: K,
  how: PackTasks[K]['how'],
): AsyncGenerator<PackTasks[K]['made']> {
  const underway: Promise<unknown>[] = []
  for await (const values of pieces) {
    const task = { kind, values, how }
    const made = values.bytes.length < SMALL_BYTES ? Promise.resolve(pack(task)) : inWorker(task)
    made.catch(() => {}) // told where it is awaited
    underway.push(made)
    if (underway.length > availableParallelism()) yield (await underway.shift()) as PackTasks[K]['made']
  }
  for (const made of underway) yield (await made) as PackTasks[K]['made']
}

function pack({ kind, values, how }: Task): PackedBlocks | PackedChannels {
  if (kind === 'columns') return packPerChannel(values, how.inputs)
  const { inputs, bits, block } = how as PackTasks['blocks']['how']
  return packBlocks(values, inputs, bits, block)
}

interface PackWorker {
  worker: Worker
  waiting: { resolve(made: unknown): void; reject(error: Error): void }[]
}

let workers: PackWorker[] = []
let users = 0

/** Threads that are started during the work end with it, or with the last work that shares them. */
export async function withWorkers<T>(work: () => Promise<T>): Promise<T> {
  users++
  try {
    return await work()
  } finally {
    users--
    if (users === 0) await Promise.all(workers.splice(0).map(({ worker }) => worker.terminate()))
  }
}

/** The values are copied on their way, so the piece may be overwritten. */
function inWorker(task: Task): Promise<unknown> {
  if (workers.length === 0) workers = Array.from({ length: availableParallelism() }, startWorker)
  const least = workers.reduce((least, one) => (one.waiting.length < least.waiting.length ? one : least))
  return new Promise((resolve, reject) => {
    least.waiting.push({ resolve, reject })
    least.worker.postMessage(task)
  })
}

function startWorker(): PackWorker {
  const packWorker: PackWorker = { worker: new Worker(FILE, { workerData: MARK }), waiting: [] }
  const { worker } = packWorker
  worker.on('message', ({ made, error }: { made?: unknown; error?: SerializedError }) => {
    const task = packWorker.waiting.shift()!
    if (error) task.reject(deserializeError(error))
    else task.resolve(made)
  })
  worker.on('error', (error) => {
    workers = workers.filter((one) => one !== packWorker)
    for (const task of packWorker.waiting.splice(0)) task.reject(error)
  })
  return packWorker
}

if (!isMainThread && workerData === MARK) {
  parentPort!.on('message', (task: Task) => {
    try {
      const made = pack(task)
      const buffers = Object.values(made).map((bytes: Uint8Array) => bytes.buffer as ArrayBuffer)
      parentPort!.postMessage({ made }, buffers)
    } catch (error) {
      parentPort!.postMessage({ error: serializeError(error) })
    }
  })
}

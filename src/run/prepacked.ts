// An artifact -> a folder with its graphs and their prepacked weights, made once for this CPU.
//
// When a session opens, onnxruntime reorders weights for the CPU's instructions into anonymous memory (prepacking). Saved
// with the graph, prepacked weights are mapped from the file: opt-2.7b at int4 opens in a fraction of the time, all
// processes share the weights, and the kernel can drop their pages. They fit one kind of CPU and one onnxruntime, which
// are part of the folder's name.

import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat, statfs, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { GraphDescription, Manifest, TensorDescription } from '../artifact/contract.ts'
import { SetupError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { smallestPrepackedBytes } from '../onnx/prepack-sizes.ts'
import { HOUR_MS } from '../time.ts'
import { ONNXRUNTIME_VERSION } from '../versions.ts'
import { prepackSettings, thisProcessor } from './cpu.ts'
import { openSession, type Session } from './session.ts'
import { Tensor } from './tensor.ts'

export interface PrepackOptions {
  /** Folder of prepacked models. */
  folder: string
  /** Artifacts of fewer bytes are not prepacked; they open fast enough. */
  fromBytes: number
  /** Called before prepacking, which takes about as long as reading and writing twice the artifact. */
  onMaking?: () => void
  /** Called after prepacking with its duration in ms. */
  onMade?: (ms: number) => void
  /** Called with the reason why prepacked graphs could not be made or opened. The artifact's graphs are opened instead. */
  onFailed?: (why: unknown) => void
}

/**
 * In the data file that onnxruntime 1.30 saves, only tensors of 1 MiB and more are aligned, and smaller prepacked weights
 * are misread without an error. A graph with such weights stores all tensors below this size in its .onnx file.
 */
const ALIGNED_FROM_BYTES = 1024 * 1024
const KILOBYTE = 1024
/** Prepacked models that were not opened for this long are removed when a new one is made. */
const UNUSED_MS = 30 * 24 * HOUR_MS

/** The folder to open graphs from: the prepacked model's, or the artifact's if it is small or cannot be prepacked. */
export async function ensurePrepacked(
  artifact: string,
  manifest: Manifest,
  options: PrepackOptions,
): Promise<string> {
  const bytes = manifest.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  if (bytes < options.fromBytes) return artifact
  const folder = join(options.folder, folderName(manifest))
  if (await isFolder(folder)) {
    const now = new Date()
    await utimes(folder, now, now).catch(() => {}) // fails in a read-only cache, which can be used too
    return folder
  }
  try {
    await checkDiskSpace(options.folder, bytes)
    await make(artifact, manifest, folder, options)
  } catch (cause) {
    // Another process has made it in the meantime.
    if (await isFolder(folder)) return folder
    const message = `The model's weights could not be prepacked in ${options.folder}, so it opens slowly. Free disk space or grant write access there, or set GLIMPSE_PREPACK_FROM_MB above the model's size.`
    options.onFailed?.(new SetupError('not_laid_out', message, { cause }))
    return artifact
  }
  return folder
}

async function make(
  artifact: string,
  manifest: Manifest,
  folder: string,
  options: PrepackOptions,
): Promise<void> {
  options.onMaking?.()
  const start = performance.now()
  const partial = `${folder}.partial-${randomUUID()}`
  try {
    await removeUnused(options.folder)
    await mkdir(partial, { recursive: true })
    for (const description of manifest.graphs) {
      const { name: graph } = description
      const externalFromBytes =
        (await smallestPrepackedBytes(artifact, graph)) < ALIGNED_FROM_BYTES ? ALIGNED_FROM_BYTES : KILOBYTE
      const save = { folder: partial, externalFromBytes }
      const before = await probe(await openSession(artifact, graph, { save }), description)
      const after = await probe(await openSession(partial, graph), description)
      if (!isDeepStrictEqual(before, after)) {
        throw new Error(`the prepacked graph ${graph} gives other numbers than the graph`)
      }
    }
    await rename(partial, folder)
  } finally {
    await rm(partial, { recursive: true, force: true }).catch(() => {})
    options.onMade?.(performance.now() - start)
  }
}

/** The values of a graph's outputs for synthetic inputs of one row. Closes the session. */
async function probe(session: Session, { inputs, outputs }: GraphDescription): Promise<ArrayLike<unknown>[]> {
  try {
    const feeds = Object.fromEntries(inputs.map((input) => [input.name, syntheticInput(input)]))
    const names = outputs.map(({ name }) => name)
    const results = await session.run(feeds, names)
    return await Promise.all(names.map((name) => results[name]!.elements()))
  } finally {
    await session.close()
  }
}

/** Ones for ids, masks and counts; a wave for numbers. Each size that is known at run time is 1, sums are added up. */
function syntheticInput({ type, dims }: TensorDescription): Tensor {
  const sizes = dims.map((dim) => (typeof dim === 'number' ? dim : dim.split('+').length))
  const length = sizes.reduce((a, b) => a * b, 1)
  switch (type) {
    case 'float32':
      return Tensor.float32(
        Float32Array.from({ length }, (_, i) => Math.sin(1.7 * i)),
        sizes,
      )
    case 'int64':
      return new Tensor(type, new BigInt64Array(length).fill(1n), sizes)
    case 'int32':
      return new Tensor(type, new Int32Array(length).fill(1), sizes)
    case 'float16':
      return new Tensor(type, new Uint16Array(length).fill(FLOAT16_ONE), sizes)
  }
}

/** The bits of 1 in float16. */
const FLOAT16_ONE = 0x3c00

/** The processor's instructions, and the settings chosen for them, decide how weights are prepacked. */
function folderName(manifest: Manifest): string {
  const processor = thisProcessor()
  const parts = [manifest, ONNXRUNTIME_VERSION, process.platform, processor, prepackSettings(processor)]
  return sha256Hex(JSON.stringify(parts)).slice(0, 24)
}

async function removeUnused(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name)
    const info = await stat(path).catch(() => undefined)
    if (info && Date.now() - info.mtimeMs > UNUSED_MS) await rm(path, { recursive: true, force: true })
  }
}

/** A prepacked model holds the weights twice, original and prepacked; in float32 it is somewhat larger. */
async function checkDiskSpace(folder: string, bytes: number): Promise<void> {
  await mkdir(folder, { recursive: true })
  const { bavail, bsize } = await statfs(folder)
  const [needed, free] = [2.5 * bytes, bavail * bsize]
  const megabytes = (size: number) => `${Math.round(size / 1e6)} MB`
  if (free < needed) throw new Error(`it needs ${megabytes(needed)} and ${megabytes(free)} are free`)
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false
}

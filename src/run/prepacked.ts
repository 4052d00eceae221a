// An artifact's graphs, laid out once for this processor: what onnxruntime would do at each opening, kept on disk.
//
// onnxruntime reorders weights for the processor's instructions when a session opens, into memory of its own. Saved with
// the graph they are mapped from the file instead: opt-2.7b at int4 opens in a fraction of the time, and the weights
// are shared by all processes and given back under pressure. The layout holds for one kind of processor and one
// onnxruntime, so both are in the folder's name; anywhere else the artifact is simply laid out again.

import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, stat, statfs, utimes } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { LANGUAGE, type Manifest, QUERIES, VISION } from '../artifact/contract.ts'
import { SetupError } from '../errors.ts'
import { sha256Hex } from '../hash.ts'
import { smallestPrepackedBytes } from '../onnx/prepack-sizes.ts'
import { HOUR_MS } from '../time.ts'
import { ONNXRUNTIME_VERSION } from '../versions.ts'
import { Decoder } from './decoder.ts'
import { type FloatTensor, openAndSave, openSession, PREPACK_CONFIG, type Session } from './session.ts'

export interface PrepackOptions {
  /** Where layouts are kept. */
  folder: string
  /** Artifacts with fewer bytes of weights open fast enough as they are. */
  fromBytes: number
  /** Called before a layout is made, which takes about as long as reading and writing twice the artifact. */
  onMaking?: () => void
  /** Told how long that took, in milliseconds. */
  onMade?: (ms: number) => void
  /** Called with why a layout could not be made or opened; the artifact's own graphs are opened instead. */
  onFailed?: (why: unknown) => void
}

/**
 * onnxruntime 1.30 aligns only tensors of 1 MiB and more in a layout's data file, and misreads the layout of smaller
 * ones there without an error. A graph that has such weights keeps everything smaller inside its .onnx file.
 */
const ALIGNED_FROM_BYTES = 1024 * 1024
const KILOBYTE = 1024
/** Layouts nobody opened for so long are removed when a new one is made. */
const UNUSED_MS = 30 * 24 * HOUR_MS

/** The folder to open graphs from: the layout's, or the artifact's own where a layout is not worth making or can't be made. */
export async function ensurePrepacked(
  artifact: string,
  manifest: Manifest,
  options: PrepackOptions,
): Promise<string> {
  const bytes = manifest.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  if (bytes < options.fromBytes) return artifact
  const folder = join(options.folder, await nameOf(manifest))
  if (await isFolder(folder)) {
    const now = new Date()
    await utimes(folder, now, now).catch(() => {}) // a read-only cache serves as well
    return folder
  }
  try {
    await checkRoom(options.folder, bytes)
    await make(artifact, manifest, folder, options)
  } catch (cause) {
    // Another process that was faster has made it.
    if (await isFolder(folder)) return folder
    const message = `Expected to lay the model out for this processor in ${options.folder} but could not, so it opens slowly. If room or the right to write is missing, give it; or set GLIMPSE_PREPACK_FROM_MB above the model's size.`
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
  const began = performance.now()
  const partial = `${folder}.partial-${randomUUID()}`
  try {
    await removeUnused(options.folder)
    await mkdir(partial, { recursive: true })
    for (const { graph } of [VISION, QUERIES, LANGUAGE]) {
      const outsideFrom =
        (await smallestPrepackedBytes(artifact, graph)) < ALIGNED_FROM_BYTES ? ALIGNED_FROM_BYTES : KILOBYTE
      const before = await probe(await openAndSave(artifact, graph, partial, outsideFrom), graph, manifest)
      const after = await probe(await openSession(partial, graph), graph, manifest)
      if (!Buffer.from(before.buffer).equals(Buffer.from(after.buffer))) {
        throw new Error(`the layout of ${graph} gives other numbers than the graph`)
      }
    }
    await rename(partial, folder)
  } finally {
    await rm(partial, { recursive: true, force: true }).catch(() => {})
    options.onMade?.(performance.now() - began)
  }
}

/** What a graph makes of a made-up input; closes the session. */
async function probe(session: Session, graph: string, manifest: Manifest): Promise<Float32Array> {
  const { image, patches, vision_width, queries, width } = manifest.sizes
  try {
    switch (graph) {
      case VISION.graph: {
        const outputs = await session.run({ [VISION.pixels]: wave(1, 3, ...image) }, [VISION.vision])
        return outputs[VISION.vision]!.data
      }
      case QUERIES.graph: {
        const outputs = await session.run({ [QUERIES.vision]: wave(1, patches, vision_width) }, [
          QUERIES.prefix,
        ])
        return outputs[QUERIES.prefix]!.data
      }
      default: {
        const row = { prefix: wave(queries, width).data, ids: [manifest.tokens.bos_token_id] }
        return (await Decoder.prefill({ manifest, language: session }, [row])).step.logits[0]!.slice()
      }
    }
  } finally {
    await session.close()
  }
}

function wave(...dims: number[]): FloatTensor {
  const size = dims.reduce((a, b) => a * b)
  return { data: Float32Array.from({ length: size }, (_, i) => Math.sin(1.7 * i)), dims }
}

async function nameOf(manifest: Manifest): Promise<string> {
  const parts = [
    JSON.stringify(manifest),
    ONNXRUNTIME_VERSION,
    JSON.stringify(PREPACK_CONFIG),
    await processor(),
  ]
  return sha256Hex(parts.join('\n')).slice(0, 24)
}

/** Which instructions there are decides the layout; where the system does not tell, the model's name stands for them. */
async function processor(): Promise<string> {
  const info = await readFile('/proc/cpuinfo', 'utf8').catch(() => '')
  const flags = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(info)?.[1]
  return [process.platform, process.arch, cpus()[0]?.model, flags].join(' ')
}

async function removeUnused(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name)
    const info = await stat(path).catch(() => undefined)
    if (info && Date.now() - info.mtimeMs > UNUSED_MS) await rm(path, { recursive: true, force: true })
  }
}

/** A layout holds the weights twice, as they were and as they are used, in float32 somewhat more. */
async function checkRoom(folder: string, bytes: number): Promise<void> {
  await mkdir(folder, { recursive: true })
  const { bavail, bsize } = await statfs(folder)
  const [needed, free] = [2.5 * bytes, bavail * bsize]
  const megabytes = (size: number) => `${Math.round(size / 1e6)} MB`
  if (free < needed) throw new Error(`it needs ${megabytes(needed)} and ${megabytes(free)} are free`)
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false
}

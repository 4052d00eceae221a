// An artifact's folder -> its manifest, after a check that what it lists is there.

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { ArtifactError } from '../errors.ts'
import { PRECISIONS, TARGETS } from '../quantize/recipes.ts'
import { shellWord } from '../shell.ts'
import { ONNXRUNTIME_VERSION } from '../versions.ts'
import { FORMAT, MANIFEST, type Manifest, manifestSchema } from './contract.ts'

/** Throws ArtifactError `no_artifact` or what parseManifest throws. Sizes are compared; see verifyFiles for contents. */
export async function openArtifact(folder: string): Promise<Manifest> {
  const text = await readFile(join(folder, MANIFEST), 'utf8').catch(async (cause: unknown) => {
    if (await stat(join(folder, 'config.json')).catch(() => undefined)) {
      throw new ArtifactError(
        'no_artifact',
        `Expected an artifact but ${folder} is a checkpoint. Build it into another folder: npx glimpse build ${shellWord(folder)} --out <folder>`,
        { cause },
      )
    }
    throw new ArtifactError(
      'no_artifact',
      `Expected an artifact with ${MANIFEST} in ${folder} but can't read it. Make one: npx glimpse build <checkpoint> --out ${shellWord(folder)}`,
      { cause },
    )
  })
  const manifest = parseManifest(text, folder)
  for (const { path, sizeBytes } of manifest.files) {
    const size = (await stat(join(folder, path)).catch(() => undefined))?.size
    if (size !== sizeBytes) {
      throw new ArtifactError(
        'damaged_artifact',
        `Expected ${path} with ${sizeBytes} bytes in ${folder} but ${size === undefined ? 'it is missing' : `it has ${size}`}. Build it again: ${commandFor(folder, manifest)}`,
      )
    }
  }
  return manifest
}

/** Reads every file and compares its sha256. Throws ArtifactError `damaged_artifact`. */
export async function verifyFiles(folder: string, manifest: Manifest): Promise<void> {
  for (const { path, sha256 } of manifest.files) {
    const hash = createHash('sha256')
    const unreadable = await pipeline(createReadStream(join(folder, path)), hash).catch((cause: unknown) => ({
      cause,
    }))
    if (unreadable || hash.digest('hex') !== sha256) {
      throw new ArtifactError(
        'damaged_artifact',
        `Expected ${path} in ${folder} as it was built but ${unreadable ? "it can't be read" : 'its checksum differs'}. Build it again: ${commandFor(folder, manifest)}`,
        unreadable ?? {},
      )
    }
  }
}

/**
 * The text of a manifest, checked; `folder` is where it came from. Throws ArtifactError `damaged_artifact`,
 * `other_format` or `other_onnxruntime`.
 */
export function parseManifest(text: string, folder: string): Manifest {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  const parsed = manifestSchema.safeParse(json)
  if (parsed.success) {
    checkRuntime(parsed.data, folder)
    return parsed.data
  }
  const format: unknown = Object(json).format
  if (typeof format === 'string' && /^glimpse-artifact\/\d+$/.test(format) && format !== FORMAT) {
    throw new ArtifactError(
      'other_format',
      `Expected an artifact of the format ${FORMAT} but ${folder} has ${format}. Build it again: ${commandFor(folder, json)}`,
    )
  }
  const issue = parsed.error.issues[0]!
  throw new ArtifactError(
    'damaged_artifact',
    `Expected a manifest this version can read in ${folder} but at ${issue.path.join('.') || 'its start'}: ${issue.message}. Build it again: ${commandFor(folder, json)}`,
  )
}

const origin = z.object({
  precision: z.enum(PRECISIONS).optional().catch(undefined),
  target: z.enum(TARGETS).optional().catch(undefined),
  /** Only of one that came from the hub. */
  source: z.object({ checkpoint: z.string(), commit: z.string() }).optional().catch(undefined),
})

/** The command that makes an artifact in a folder or a bucket again, as far as its manifest says how it was made. */
function commandFor(folder: string, manifest: unknown): string {
  const { precision, target, source } = origin.safeParse(manifest).data ?? {}
  const isRemote = folder.startsWith('s3://')
  const words = [
    source
      ? `pull ${shellWord(source.checkpoint)} --revision ${shellWord(source.commit)}`
      : 'build <checkpoint>',
    `--out ${isRemote ? '<folder>' : shellWord(folder)}`,
    ...(precision ? [`--precision ${precision}`] : []),
    ...(target ? [`--for ${target}`] : []),
  ]
  const pushing = isRemote ? `, then npx glimpse push <folder> ${shellWord(folder)} --replace` : ''
  return `npx glimpse ${words.join(' ')}${pushing}`
}

/** Operators outside of ONNX's standard, which carry our quantized weights, may change with each minor version. */
function checkRuntime(manifest: Manifest, folder: string): void {
  const { versions } = manifest
  const minorOf = (version: string) => version.split('.').slice(0, 2).join('.')
  if (minorOf(versions.onnxruntime) === minorOf(ONNXRUNTIME_VERSION)) return
  throw new ArtifactError(
    'other_onnxruntime',
    `Expected an artifact built for onnxruntime ${minorOf(ONNXRUNTIME_VERSION)} but ${folder} was built for ${versions.onnxruntime}. Run the Glimpse that built it (${versions.glimpse}), or build it again: ${commandFor(folder, manifest)}`,
  )
}

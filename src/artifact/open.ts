// An artifact's folder -> its manifest, after a check of the files that it lists.

import { createHash, randomUUID } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { ArtifactError } from '../errors.ts'
import { PRECISIONS, TARGETS } from '../quantize/recipes.ts'
import { shellWord } from '../shell.ts'
import { ONNXRUNTIME_VERSION } from '../versions.ts'
import { FORMAT, MANIFEST, type Manifest, manifestSchema } from './contract.ts'

/**
 * Compares the sizes of the files, not their contents; verifyFiles does that.
 * @throws ArtifactError `no_artifact`, and the errors of parseManifest.
 */
export async function openArtifact(folder: string): Promise<Manifest> {
  const text = await readFile(join(folder, MANIFEST), 'utf8').catch(async (cause: unknown) => {
    const isCheckpoint = await stat(join(folder, 'config.json')).catch(() => undefined)
    throw new ArtifactError(
      'no_artifact',
      isCheckpoint
        ? `${folder} is a checkpoint. Expected an artifact. Build one: npx glimpse build ${shellWord(folder)} --out <folder>`
        : `Cannot read ${MANIFEST} in ${folder}. Expected an artifact there. Build one: npx glimpse build <checkpoint> --out ${shellWord(folder)}`,
      { cause },
    )
  })
  const manifest = parseManifest(text, folder)
  for (const { path, sizeBytes } of manifest.files) {
    const size = (await stat(join(folder, path)).catch(() => undefined))?.size
    if (size === sizeBytes) continue
    const got = size === undefined ? 'it is missing' : `it has ${size}`
    throw damaged(`Expected ${path} with ${sizeBytes} bytes in ${folder} but ${got}`, folder, manifest)
  }
  return manifest
}

/** Reads every file and compares its sha256 with the manifest. @throws ArtifactError `damaged_artifact`. */
export async function verifyFiles(folder: string, manifest: Manifest): Promise<void> {
  for (const { path, sha256 } of manifest.files) {
    const expected = `Expected ${path} in ${folder} with the manifest's checksum but`
    const hash = createHash('sha256')
    await pipeline(createReadStream(join(folder, path)), hash).catch((cause: unknown) => {
      throw damaged(`${expected} it cannot be read`, folder, manifest, cause)
    })
    if (hash.digest('hex') !== sha256) throw damaged(`${expected} it has another`, folder, manifest)
  }
}

/** A note in an artifact's folder: which files were hashed, and their modification times then. */
export const VERIFIED = '.checked'

/**
 * verifyFiles, unless a note in the folder says that these files were verified since this machine started. Hashing takes
 * a second for each 200 to 400 MB.
 * @throws ArtifactError `damaged_artifact`
 */
export async function verifyOnce(folder: string, manifest: Manifest): Promise<void> {
  const verified = await readFile(join(folder, VERIFIED), 'utf8').catch(() => '')
  if (verified === (await stateOf(folder, manifest))) return
  await verifyFiles(folder, manifest)
  await recordVerified(folder, manifest).catch(() => {}) // a read-only cache is valid
}

/** Writes the note of verifyOnce, for files that were hashed while they were written. */
export async function recordVerified(folder: string, manifest: Manifest): Promise<void> {
  await writeFile(join(folder, VERIFIED), await stateOf(folder, manifest))
}

/** The machine's boot id and the modification time of each file. */
async function stateOf(folder: string, manifest: Manifest): Promise<string> {
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => randomUUID())
  const times = await Promise.all(
    manifest.files.map(async ({ path }) => [path, (await stat(join(folder, path))).mtimeMs]),
  )
  return JSON.stringify([boot.trim(), times])
}

/**
 * Parses and checks a manifest's text. `folder`, its folder or s3:// location, is for error messages.
 * @throws ArtifactError `damaged_artifact`, `other_format` or `other_onnxruntime`.
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
  const { format, architecture }: Record<string, unknown> = Object(json)
  if (typeof format === 'string' && /^glimpse-artifact\/\d+$/.test(format)) {
    const refuse = (found: string) =>
      new ArtifactError(
        'other_format',
        `Expected an artifact of the format ${FORMAT} but ${folder} has ${found}. Build it again: ${commandFor(folder, json)}`,
      )
    if (format !== FORMAT) throw refuse(format)
    if (architecture === undefined) throw refuse('its earlier form, without an architecture')
  }
  const { path, message } = parsed.error.issues[0]!
  throw damaged(
    `The manifest in ${folder} is invalid at ${path.join('.') || 'its start'}: ${message}`,
    folder,
    json,
  )
}

/** `manifest`: what is known of it. The message ends with the command that builds the artifact again. */
function damaged(what: string, folder: string, manifest: unknown, cause?: unknown): ArtifactError {
  const message = `${what}. Build it again: ${commandFor(folder, manifest)}`
  return new ArtifactError('damaged_artifact', message, { cause })
}

const origin = z.object({
  precision: z.enum(PRECISIONS).optional().catch(undefined),
  target: z.enum(TARGETS).optional().catch(undefined),
  /** Valid only for a checkpoint from the hub, which has a commit. */
  source: z.object({ checkpoint: z.string(), commit: z.string() }).optional().catch(undefined),
})

/** The command that builds the artifact of a folder or bucket again, with what its manifest records of the build. */
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
  const thenPush = isRemote ? `, then npx glimpse push <folder> ${shellWord(folder)} --replace` : ''
  return `npx glimpse ${words.join(' ')}${thenPush}`
}

/** The operators of quantized weights are not part of the ONNX standard and may change with a minor version. */
function checkRuntime(manifest: Manifest, folder: string): void {
  const { versions } = manifest
  const minorOf = (version: string) => version.split('.').slice(0, 2).join('.')
  if (minorOf(versions.onnxruntime) === minorOf(ONNXRUNTIME_VERSION)) return
  throw new ArtifactError(
    'other_onnxruntime',
    `Expected an artifact built for onnxruntime ${minorOf(ONNXRUNTIME_VERSION)} but ${folder} was built for ${versions.onnxruntime}. Run the Glimpse that built it (${versions.glimpse}), or build it again: ${commandFor(folder, manifest)}`,
  )
}

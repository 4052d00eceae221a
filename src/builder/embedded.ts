// The embedded model: the checkpoint models/pico -> an artifact in the cache, built on first use.

import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FORMAT } from '../artifact/contract.ts'
import { openArtifact, verifyFiles } from '../artifact/open.ts'
import { GLIMPSE_VERSION } from '../versions.ts'
import { buildArtifact } from './build.ts'

export const EMBEDDED_CHECKPOINT = fileURLToPath(new URL('../../models/pico', import.meta.url))
/** The model is so small that quantization saves nothing. */
const PRECISION = 'fp32'

/** Returns the artifact's folder, a folder in `cacheFolder`. @throws ArtifactError or SetupError */
export async function embeddedArtifact(cacheFolder: string): Promise<string> {
  const folder = join(cacheFolder, `pico-${await fingerprint()}`)
  // An incomplete artifact, left by a crash or a full disk, is built again.
  const usable = await openArtifact(folder)
    .then((manifest) => verifyFiles(folder, manifest))
    .then(
      () => true,
      () => false,
    )
  if (!usable) {
    const optionName = 'GLIMPSE_CACHE'
    await buildArtifact(EMBEDDED_CHECKPOINT, folder, {
      precision: PRECISION,
      name: 'glimpse-pico',
      optionName,
    })
  }
  return folder
}

/** Changes with the checkpoint, Glimpse's version and the artifact's format. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256').update(GLIMPSE_VERSION).update(FORMAT)
  // The builder reports a folder or a file that can't be read.
  for (const file of (await readdir(EMBEDDED_CHECKPOINT).catch(() => [])).sort()) {
    hash.update(await readFile(join(EMBEDDED_CHECKPOINT, file)).catch(() => ''))
  }
  return hash.digest('hex').slice(0, 12)
}

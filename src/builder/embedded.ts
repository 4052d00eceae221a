// The embedded model: the checkpoint models/pico, and models/pico-itm, which matches -> an artifact in the cache, built on first
// use.

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FORMAT } from '../artifact/contract.ts'
import { openArtifact, verifyOnce } from '../artifact/open.ts'
import { GLIMPSE_VERSION } from '../versions.ts'

export const EMBEDDED_CHECKPOINT = fileURLToPath(new URL('../../models/pico', import.meta.url))
/** It has the vision tower of the other. A copy of Glimpse without it does not match. */
const EMBEDDED_MATCHING = fileURLToPath(new URL('../../models/pico-itm', import.meta.url))

/** Returns the artifact's folder, a folder in `cacheFolder`. @throws ArtifactError or SetupError */
export async function embeddedArtifact(cacheFolder: string): Promise<string> {
  const folder = join(cacheFolder, `pico-${await fingerprint()}`)
  await openArtifact(folder)
    .then((manifest) => verifyOnce(folder, manifest))
    // An incomplete artifact, left by a crash or a full disk, is built again.
    .catch(async () => {
      // Imported on use: the builder takes 0.2 s to load.
      const { buildArtifact } = await import('./build.ts')
      await buildArtifact(EMBEDDED_CHECKPOINT, folder, {
        precision: 'fp32', // The model is so small that quantization saves nothing.
        name: 'glimpse-pico',
        matching: existsSync(EMBEDDED_MATCHING) ? EMBEDDED_MATCHING : undefined,
        optionName: 'GLIMPSE_CACHE',
      })
    })
  return folder
}

/** Changes with the checkpoint, Glimpse's version and the artifact's format. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256').update(GLIMPSE_VERSION).update(FORMAT)
  // The builder reports a folder or a file that can't be read.
  for (const folder of [EMBEDDED_CHECKPOINT, EMBEDDED_MATCHING]) {
    for (const file of (await readdir(folder).catch(() => [])).sort())
      hash.update(await readFile(join(folder, file)).catch(() => ''))
  }
  return hash.digest('hex').slice(0, 12)
}

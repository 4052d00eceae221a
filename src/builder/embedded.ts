// The model in the box: models/pico, a checkpoint like any other, built on first use.

import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FORMAT } from '../artifact/contract.ts'
import { openArtifact, verifyFiles } from '../artifact/open.ts'
import { GLIMPSE_VERSION } from '../versions.ts'
import { buildArtifact } from './build.ts'

export const EMBEDDED_CHECKPOINT = fileURLToPath(new URL('../../models/pico', import.meta.url))
/** So small that nothing is gained by storing less. */
const PRECISION = 'fp32'

/** The artifact's folder, built into `cacheFolder` unless it stands there. Throws ArtifactError or SetupError. */
export async function embeddedArtifact(cacheFolder: string): Promise<string> {
  const folder = join(cacheFolder, `pico-${await fingerprint()}`)
  // What a crash or a full disk left of it is made anew.
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

/** Changes with the checkpoint, the version that builds it and the artifact's format. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256').update(GLIMPSE_VERSION).update(FORMAT)
  // A folder or a file that can't be read is for the builder to report.
  for (const file of (await readdir(EMBEDDED_CHECKPOINT).catch(() => [])).sort()) {
    hash.update(await readFile(join(EMBEDDED_CHECKPOINT, file)).catch(() => ''))
  }
  return hash.digest('hex').slice(0, 12)
}

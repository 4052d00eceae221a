// A published checkpoint -> what transformers' own tests expect of it, and the picture that they ask about, fetched.
//
// reference/published.py has the sources of the expected tokens, and writes the files.

import { mkdir, readdir, rename, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RequestError } from '../errors.ts'
import { type Hub, readStart, request } from '../hub/http.ts'
import { retry } from '../retry.ts'
import { type Reference, readReference } from './reference.ts'

const FOLDER = fileURLToPath(new URL('../../reference/published', import.meta.url))
const MAX_PICTURE_BYTES = 20_000_000

/** Pictures of the tests: a path on the hub, or an address elsewhere. */
const PICTURES: Readonly<Record<string, string>> = {
  'demo.jpg': '/hf-internal-testing/blip-test-image/resolve/main/demo.jpg',
  'Confusing-Pictures.jpg':
    'https://raw.githubusercontent.com/salesforce/LAVIS/main/docs/_static/Confusing-Pictures.jpg',
}

/**
 * @param checkpoint that an artifact was built from: its folder, or its repository on the hub
 * @throws RequestError `bad_name` when nothing is published about a checkpoint of this name
 */
export async function publishedReferences(checkpoint: string): Promise<Reference[]> {
  const files = (await readdir(FOLDER)).filter((file) => file.endsWith('.safetensors')).sort()
  const all = await Promise.all(files.map((file) => readReference(join(FOLDER, file))))
  const nameOf = ({ checkpoint = '' }: Reference) => basename(checkpoint)
  const found = all.filter((reference) => nameOf(reference) === basename(checkpoint))
  if (found.length > 0) return found
  const known = [...new Set(all.map(nameOf))].join(', ')
  const message = `Expected an artifact of ${known} but it was built from ${checkpoint}. Name files of your own expectations: npx glimpse verify <artifact> <references> --published`
  throw new RequestError('bad_name', message)
}

/**
 * Fetches the references' pictures that are not in `folder` yet.
 * @throws RequestError `bad_name` for a picture whose address is not known, and the errors of `request`
 */
export async function fetchPictures(
  hub: Hub,
  references: readonly Reference[],
  folder: string,
): Promise<void> {
  for (const image of new Set(references.flatMap(({ image, images }) => [image ?? [], images].flat()))) {
    const path = join(folder, basename(image))
    if (await stat(path).catch(() => undefined)) continue
    const address = PICTURES[image]
    if (address === undefined) {
      const message = `Expected one of the pictures ${Object.keys(PICTURES).join(', ')} but a reference names ${image}. Name its folder: --pictures <folder>`
      throw new RequestError('bad_name', message)
    }
    const isOnHub = address.startsWith('/')
    // The hub's token is for the hub only.
    const from = isOnHub ? hub : { ...hub, endpoint: new URL(address).origin, token: undefined }
    const to = isOnHub ? address : new URL(address)
    const bytes = await retry(hub, `Fetching ${image}`, async () =>
      readStart(from, await request(from, to, image), MAX_PICTURE_BYTES),
    )
    await mkdir(folder, { recursive: true })
    await writeFile(`${path}.${process.pid}`, bytes)
    await rename(`${path}.${process.pid}`, path)
  }
}

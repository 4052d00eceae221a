// An artifact that does not match its manifest is rejected before a graph is opened.

import { cp, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { FORMAT, type Manifest } from '../../src/artifact/contract.ts'
import { openArtifact, verifyFiles } from '../../src/artifact/open.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { ArtifactError } from '../../src/errors.ts'
import { PLAIN } from '../make-checkpoint.ts'

let room: string
let folder: string
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  await buildArtifact(PLAIN, join(room, 'good'), { precision: 'int8' })
})
afterAll(() => rm(room, { recursive: true }))
beforeEach(async () => {
  folder = join(room, 'copy')
  await cp(join(room, 'good'), folder, { recursive: true })
})
afterEach(() => rm(folder, { recursive: true }))

const put = (file: string, content: string) => writeFile(join(folder, file), content)

async function editManifest(edit: (manifest: Manifest) => unknown): Promise<void> {
  const manifest: Manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'))
  edit(manifest)
  await put('manifest.json', JSON.stringify(manifest))
}

test.each<[string, () => unknown, string, string]>([
  ['no manifest', () => rm(join(folder, 'manifest.json')), 'no_artifact', 'glimpse build'],
  ['a manifest that is not JSON', () => put('manifest.json', '{'), 'damaged_artifact', 'its start'],
  ['a manifest that is a list', () => put('manifest.json', '[]'), 'damaged_artifact', 'its start'],
  [
    'one built for another onnxruntime',
    () => editManifest((m) => Object.assign(m.versions, { onnxruntime: '1.19.2' })),
    'other_onnxruntime',
    'was built for 1.19.2. Run the Glimpse that built it',
  ],
  [
    'a manifest that names another folder',
    () => editManifest((m) => Object.assign(m.files[0]!, { path: '..' })),
    'damaged_artifact',
    'files.0.path',
  ],
  [
    'a manifest with an unknown format',
    () => editManifest((m) => Object.assign(m, { format: 'zip' })),
    'damaged_artifact',
    'at format',
  ],
  [
    'a recipe with a format as text, as in the previous format',
    () => editManifest((m) => Object.assign(m.recipe[0]!, { format: 'int8, one scale per output' })),
    'damaged_artifact',
    'recipe.0.format',
  ],
  [
    'a size as text',
    () => editManifest((m) => Object.assign(m.vision, { width: '24' })),
    'damaged_artifact',
    'vision.width',
  ],
  [
    'a file outside',
    () => editManifest((m) => Object.assign(m.files[0]!, { path: '../x' })),
    'damaged_artifact',
    'files.0.path',
  ],
  [
    'a data file cut off',
    () => truncate(join(folder, 'language.data'), 100),
    'damaged_artifact',
    'language.data',
  ],
  ['a data file missing', () => rm(join(folder, 'vision.data')), 'damaged_artifact', 'vision.data'],
  [
    'a data file too long',
    () => writeFile(join(folder, 'queries.data'), 'x', { flag: 'a' }),
    'damaged_artifact',
    'queries.data',
  ],
])('rejects %s', async (_, spoil, code, words) => {
  await spoil()
  const error: ArtifactError = await openArtifact(folder).then(
    () => undefined as never,
    (thrown) => thrown,
  )
  expect(error).toBeInstanceOf(ArtifactError)
  expect(error.code).toBe(code)
  expect(error.message).toContain(words)
})

test.each<[string, Partial<Manifest>, string]>([
  ['a checkpoint on disk', {}, 'build <checkpoint> --out <at> --precision int8'],
  ['one for a GPU', { target: 'gpu' }, 'build <checkpoint> --out <at> --precision int8 --for gpu'],
  [
    'the hub',
    { source: { checkpoint: 'me/blip2', commit: 'abc123', config_sha256: '', weight_bytes: 0 } },
    'pull me/blip2 --revision abc123 --out <at> --precision int8',
  ],
])('rejects the previous format with the command that builds it again from %s', async (_, more, command) => {
  await editManifest((m) => Object.assign(m, more, { format: 'glimpse-artifact/2' }))
  const again = command.replace('<at>', folder)
  await expect(openArtifact(folder)).rejects.toMatchObject({
    kind: 'artifact',
    code: 'other_format',
    message: `Expected an artifact of the format ${FORMAT} but ${folder} has glimpse-artifact/2. Build it again: npx glimpse ${again}`,
  })
})

test.each<[string, (manifest: Manifest) => unknown, string]>([
  ['the first format', (m) => Object.assign(m, { format: 'glimpse-artifact/1' }), 'glimpse-artifact/1'],
  [
    'the format before the manifest described graphs and language model',
    (m) => {
      const described = [
        'architecture',
        'tasks',
        'graphs',
        'vision',
        'queries',
        'language',
        'prompt',
        'unknown',
      ]
      for (const name of [...described, 'generation']) delete (m as Record<string, unknown>)[name]
      Object.assign(m, { sizes: { patches: 17, width: 24 }, tokens: { bos_token_id: 2 } })
    },
    'its earlier form, without an architecture',
  ],
])('rejects %s with the command that builds it again', async (_, edit, found) => {
  await editManifest(edit)
  await expect(openArtifact(folder)).rejects.toMatchObject({
    kind: 'artifact',
    code: 'other_format',
    message: `Expected an artifact of the format ${FORMAT} but ${folder} has ${found}. Build it again: npx glimpse build <checkpoint> --out ${folder} --precision int8`,
  })
})

test('the checksums detect one changed byte', async () => {
  const manifest = await openArtifact(folder)
  await verifyFiles(folder, manifest)
  const data = await readFile(join(folder, 'language.data'))
  data[1000]! ^= 1
  await writeFile(join(folder, 'language.data'), data)
  await openArtifact(folder)
  await expect(verifyFiles(folder, manifest)).rejects.toThrow('Expected language.data')
})

test('a file that is removed or replaced by a folder after opening is a damaged artifact', async () => {
  const manifest = await openArtifact(folder)
  await rm(join(folder, 'vision.data'))
  await expect(verifyFiles(folder, manifest)).rejects.toBeInstanceOf(ArtifactError)
  await mkdir(join(folder, 'vision.data'))
  await expect(verifyFiles(folder, manifest)).rejects.toBeInstanceOf(ArtifactError)
})

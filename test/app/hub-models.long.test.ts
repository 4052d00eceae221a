// `--model owner/name`: made once from a hub or from a Hugging Face cache, kept, listed and removed.

import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  hubModel,
  listModels,
  type ModelPlan,
  proposedPrecision,
  removeModel,
} from '../../src/app/hub-models.ts'
import { openArtifact } from '../../src/artifact/open.ts'
import { readConfig } from '../../src/config.ts'
import { cancelled } from '../../src/errors.ts'
import { isHubName } from '../../src/hub/repository.ts'
import { glimpse } from '../cli/glimpse.ts'
import { FIXTURES } from '../fixtures.ts'
import { COMMIT, type Double, REPOSITORY, startDouble } from '../hub/double.ts'

const CHECKPOINT = join(FIXTURES, 'checkpoints/half-shards')
const GB = 1e9

let room: string
let hub: Double
beforeEach(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  hub = await startDouble(CHECKPOINT)
})
afterEach(async () => {
  await hub.close()
  await rm(room, { recursive: true })
})

const environment = (more: Record<string, string> = {}) => ({
  GLIMPSE_CACHE: join(room, 'cache'),
  HF_HOME: join(room, 'huggingface'),
  HF_ENDPOINT: hub.endpoint,
  ...more,
})
const settings = (more: Record<string, string> = {}) => readConfig(environment(more))

/** A cache as huggingface_hub leaves it: links from a snapshot to blobs; here copies. */
async function fillHubCache(folder: string, files?: string[]): Promise<void> {
  const repository = join(folder, `models--${REPOSITORY.replace('/', '--')}`)
  const snapshot = join(repository, 'snapshots', COMMIT)
  await mkdir(join(repository, 'refs'), { recursive: true })
  await writeFile(join(repository, 'refs', 'main'), COMMIT)
  for (const file of files ?? (await readdir(CHECKPOINT))) {
    await cp(join(CHECKPOINT, file), join(snapshot, file), { recursive: true })
  }
}

test('is downloaded and built once; the plan says what that takes', async () => {
  const plans: ModelPlan[] = []
  const confirm = async (plan: ModelPlan) => {
    plans.push(plan)
    return 'int4' as const
  }
  const folder = await hubModel(settings(), REPOSITORY, { confirm })
  const { precision, name, files } = await openArtifact(folder)
  expect([precision, name]).toEqual(['int4', 'half-shards'])
  const [plan] = plans
  expect(plan).toMatchObject({ name: REPOSITORY, commit: COMMIT, precision: 'int8' })
  // The graphs of so small a model take as much as its weights.
  const bytesOf = (ending: RegExp) =>
    files.filter(({ path }) => ending.test(path)).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  expect(plan!.artifactBytes.int4).toBeGreaterThan(bytesOf(/\.data$/) / 2)
  expect(plan!.artifactBytes.int4).toBeLessThanOrEqual(bytesOf(/\.(data|onnx)$/))
  expect(plan!.downloadBytes).toBeGreaterThan(plan!.artifactBytes.int8 / 2)

  const asked = hub.asked.length
  expect(await hubModel(settings(), REPOSITORY, { confirm })).toBe(folder)
  expect([hub.asked.length, plans.length]).toEqual([asked, 1])
  // Another precision is another artifact, and both are kept.
  await hubModel(settings(), REPOSITORY, { precision: 'fp32' })
  expect((await listModels(settings().cacheFolder)).map((one) => one.precision)).toEqual(['fp32', 'int4'])
})

test('two processes that name it at once make it once', async () => {
  let waits = 0
  const options = { precision: 'int8' as const, onWait: () => waits++ }
  const folders = await Promise.all([1, 2].map(() => hubModel(settings(), REPOSITORY, options)))
  expect(new Set(folders).size).toBe(1)
  expect(waits).toBe(1)
  const downloads = hub.asked.filter((line) => line.startsWith('model-00001') && !line.includes(' 0-'))
  expect(downloads).toHaveLength(1)
})

test('a refusal downloads no weights and keeps nothing', async () => {
  const confirm = async () => {
    throw cancelled()
  }
  await expect(hubModel(settings(), REPOSITORY, { confirm })).rejects.toMatchObject({ code: 'cancelled' })
  expect(hub.asked.filter((line) => /^model-\d+-of-\d+\.safetensors$/.test(line))).toEqual([])
  expect(await listModels(settings().cacheFolder)).toEqual([])
})

test.each([
  ['HF_HOME', {}, 'huggingface/hub'],
  ['HF_HUB_CACHE', { HF_HUB_CACHE: 'other' }, 'other'],
])('a checkpoint in the cache of %s is built without the hub', async (_, variables, folder) => {
  await fillHubCache(join(room, folder))
  const env = Object.fromEntries(Object.entries(variables).map(([name, path]) => [name, join(room, path!)]))
  const built = await hubModel(settings({ ...env, HF_HUB_OFFLINE: '1' }), REPOSITORY, { precision: 'int8' })
  expect((await openArtifact(built)).source.weight_bytes).toBeGreaterThan(0)
  expect(hub.asked).toEqual([])
})

test('an incomplete checkpoint in that cache is not used; offline, what is missing is said', async () => {
  await fillHubCache(join(room, 'huggingface/hub'), ['config.json', 'model.safetensors.index.json'])
  const offline = hubModel(settings({ HF_HUB_OFFLINE: 'on' }), REPOSITORY)
  await expect(offline).rejects.toMatchObject({
    code: 'no_model',
    message: expect.stringContaining('HF_HUB_OFFLINE'),
  })
  await hubModel(settings(), REPOSITORY, { precision: 'int8' })
  expect(hub.asked.length).toBeGreaterThan(0)
})

test('is removed by its name; a name that is not kept lists those that are', async () => {
  await hubModel(settings(), REPOSITORY, { precision: 'int8' })
  const { cacheFolder } = settings()
  await expect(removeModel(cacheFolder, '../..')).rejects.toMatchObject({ code: 'bad_name' })
  await expect(removeModel(cacheFolder, 'a/b')).rejects.toThrow(`Kept models: ${REPOSITORY}`)
  expect(await removeModel(cacheFolder, REPOSITORY)).toMatchObject([{ name: REPOSITORY, precision: 'int8' }])
  expect(await listModels(cacheFolder)).toEqual([])
})

test.each([
  ['Salesforce/blip2-opt-2.7b', true],
  ['./blip2/int4', false],
  ['../a', false],
  ['/a/b', false],
  ['a', false],
  ['a/b/c', false],
  ['a/..', false],
])('%s is a name on the hub: %s', (location, expected) => {
  expect(isHubName(location)).toBe(expected)
})

test('the precision that is proposed fits half of the memory', () => {
  const sizes = { fp32: 15 * GB, int8: 4 * GB, int4: 2.4 * GB }
  expect(proposedPrecision(sizes, 16 * GB)).toBe('int8')
  expect(proposedPrecision(sizes, 8 * GB)).toBe('int4')
})

test('the command line makes it, answers with it, lists it and removes it', async () => {
  const picture = 'models/demo/guitars.png'
  const env = environment()
  const first = await glimpse(['caption', '--json', '--model', REPOSITORY, picture], env)
  expect(first.err).toContain(`${REPOSITORY} is made once, from a download of`)
  expect(JSON.parse(first.out)).toMatchObject({ model: 'half-shards' })
  const second = await glimpse(['caption', '--json', '--model', REPOSITORY, picture], env)
  expect([second.code, second.err]).toEqual([0, ''])
  expect((await glimpse(['models'], env)).out).toMatch(/^glimpse\/half-shards +main +int8 +[\d.]+ MB\n$/)
  expect((await glimpse(['models', 'rm', REPOSITORY], env)).out).toContain('Removed glimpse/half-shards')
  expect((await glimpse(['models'], env)).out).toContain('No model is kept')
  const unknown = await glimpse(['caption', '--model', 'glimpse/none', picture], env)
  expect([unknown.code, unknown.err]).toEqual([1, expect.stringContaining('There is no folder glimpse/none')])
})

// `glimpse index` killed with SIGKILL at random moments, again and again: what was stored stays, and the end is complete.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildArtifact } from '../../src/builder/build.ts'
import { createRng } from '../../src/run/sampling.ts'
import { openSearchStore } from '../../src/search/open.ts'
import { glimpse, ROOT } from '../cli/glimpse.ts'
import { FIXTURES } from '../fixtures.ts'

const KILLS = 20
/** From the start of the process to its death. Starting takes half a second, indexing all some seconds. */
const LATEST_MS = 6_000
const SEED = 20_261_128

let folder: string
let pictures: string
let env: Record<string, string>
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-kills-'))
  pictures = join(folder, 'pictures')
  env = { GLIMPSE_STATE: join(folder, 'state'), GLIMPSE_CACHE: join(folder, 'cache') }
  await buildArtifact(join(FIXTURES, 'checkpoints/itm'), join(folder, 'itm'), { precision: 'fp32' })
  await mkdir(pictures)
  for (const set of ['seen', 'unseen', 'scattered', 'unknown']) {
    await cp(join(ROOT, 'models/evaluation', set), join(pictures, set), { recursive: true })
  }
  await writeFile(join(pictures, 'text.jpg'), 'a text')
})
afterAll(() => rm(folder, { recursive: true }))

/** Id -> sha256 and vectors of what is stored. */
async function stored(): Promise<Map<string, string>> {
  const store = await openSearchStore(join(folder, 'state/search'))
  try {
    const collection = await store.open('pictures')
    const rows = (await collection?.read({})) ?? []
    return new Map(
      rows.map(({ id, sha256, vectors }) => [
        id,
        `${sha256} ${Buffer.from(vectors.buffer).toString('base64')}`,
      ]),
    )
  } finally {
    store.close()
  }
}

test('nothing that was stored is lost', { timeout: 900_000 }, async () => {
  const args = ['dist/cli/main.js', 'index', pictures, '--model', join(folder, 'itm')]
  const random = createRng(SEED)
  let before = new Map<string, string>()
  for (let kill = 0; kill < KILLS; kill++) {
    const child = spawn(process.execPath, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: 'ignore',
    })
    const exited = once(child, 'exit')
    const timer = setTimeout(() => child.kill('SIGKILL'), random() * LATEST_MS)
    await exited
    clearTimeout(timer)
    const after = await stored()
    for (const [id, content] of before) expect(after.get(id), id).toBe(content)
    before = after
  }
  const last = await glimpse(['index', pictures, '--json', '--model', join(folder, 'itm')], env)
  expect(last.code).toBe(0)
  const names = (await readdir(pictures, { recursive: true })).filter((name) => /\d\.(png|jpg)$/.test(name))
  const complete = await stored()
  expect([...complete.keys()].sort()).toEqual(names.map((name) => join(pictures, name)).sort())
  // As one run without a kill stores it.
  const fresh = { ...env, GLIMPSE_SEARCH: join(folder, 'fresh') }
  await glimpse(['index', pictures, '--model', join(folder, 'itm')], fresh)
  const store = await openSearchStore(join(folder, 'fresh'))
  const rows = (await (await store.open('pictures'))?.read({})) ?? []
  store.close()
  expect(
    new Map(
      rows.map(({ id, sha256, vectors }) => [
        id,
        `${sha256} ${Buffer.from(vectors.buffer).toString('base64')}`,
      ]),
    ),
  ).toEqual(complete)
  const searched = await glimpse(['search', 'a crab', '--paths', '--model', join(folder, 'itm')], env)
  expect(searched.out.trim().split('\n')).toHaveLength(10)
})

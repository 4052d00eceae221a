// onnxruntime sends no telemetry, however a session is opened.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FIXTURES } from '../fixtures.ts'

const ROOT = join(import.meta.dirname, '../..')
const SAMPLE = join(ROOT, 'models/demo/crab-and-helicopter.png')
const from = (file: string) => JSON.stringify(join(ROOT, 'dist', file))
/** Opens sessions in this process (the build's smoke test) and in the engine's process. */
const LIBRARY = `
import { Worker, isMainThread } from 'node:worker_threads'
async function use() {
  const { buildArtifact, startEngine } = await import(${from('index.js')})
  const artifact = process.env.HOME + '/glimpse-artifact'
  await buildArtifact(${JSON.stringify(join(FIXTURES, 'checkpoints/plain'))}, artifact, { precision: 'fp32' })
  const engine = await startEngine({ artifact })
  await engine.close()
}
`
const PROGRAMS = {
  'the library': `${LIBRARY}
await use()
`,
  'the library in a worker thread': `${LIBRARY}
if (isMainThread) new Worker(new URL(import.meta.url))
else await use()
`,
  'a session after something has cleared the environment': `
import { tryProvider } from ${from('run/session.js')}
delete process.env.ORT_DISABLE_TELEMETRY
await tryProvider('cpu')
`,
  'a session in a process whose environment allows reports': `
import { tryProvider } from ${from('run/session.js')}
process.env.ORT_DISABLE_TELEMETRY = '0'
await tryProvider('cpu')
`,
  'a session in a worker thread, which is an error': `
import { Worker, isMainThread } from 'node:worker_threads'
import { tryProvider } from ${from('run/session.js')}
if (isMainThread) new Worker(new URL(import.meta.url))
else await tryProvider('cpu').then(() => { throw new Error('it ran') }, (error) => {
  if (error.code !== 'worker_thread') throw error
})
`,
}

/** Files in a home that was empty: onnxruntime keeps a device id and unsent reports there. */
function leftBehind(program: (home: string) => string[]): string[] {
  const home = mkdtempSync(join(tmpdir(), 'glimpse-home-'))
  try {
    // No other variables: with CI set onnxruntime reports nothing. A report would go to a closed port.
    const env = {
      PATH: process.env['PATH'],
      HOME: home,
      XDG_CACHE_HOME: join(home, 'cache'),
      GLIMPSE_CACHE: join(home, 'glimpse'),
      https_proxy: 'http://127.0.0.1:9',
    }
    execFileSync(process.execPath, program(home), { cwd: ROOT, env })
    const files = readdirSync(home, { recursive: true, encoding: 'utf8' })
    return files.filter((path) => !path.startsWith('glimpse'))
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

test('the command line leaves no trace of telemetry', () => {
  expect(leftBehind(() => ['dist/cli/main.js', 'caption', SAMPLE])).toEqual([])
})

test.each(Object.entries(PROGRAMS))('nor does %s', (_, program) => {
  const written = (home: string) => {
    const script = join(home, 'glimpse-program.mjs')
    writeFileSync(script, program)
    return [script]
  }
  expect(leftBehind(written)).toEqual([])
})

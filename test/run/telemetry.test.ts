// onnxruntime's own reports to its maker are off, however it is started.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const SAMPLE = join(ROOT, 'models/demo/crab-and-helicopter.png')
const LIBRARY = `
import { embeddedArtifact, startEngine } from ${JSON.stringify(join(ROOT, 'dist/index.js'))}
const engine = await startEngine({ artifact: await embeddedArtifact(process.env.GLIMPSE_CACHE) })
await engine.close()
`

/** Where onnxruntime keeps a device's id and what it has yet to send, in a home that was empty. */
function leftBehind(program: 'command line' | 'library'): string[] {
  const home = mkdtempSync(join(tmpdir(), 'glimpse-home-'))
  try {
    const { ORT_DISABLE_TELEMETRY: _, ...env } = process.env
    const script = join(home, 'glimpse-library.mjs')
    writeFileSync(script, LIBRARY)
    const args = program === 'library' ? [script] : ['dist/cli/main.js', 'caption', SAMPLE]
    execFileSync(process.execPath, args, {
      cwd: ROOT,
      env: { ...env, HOME: home, XDG_CACHE_HOME: join(home, 'cache'), GLIMPSE_CACHE: join(home, 'glimpse') },
    })
    const files = readdirSync(home, { recursive: true, encoding: 'utf8' })
    return files.filter((path) => !path.startsWith('glimpse'))
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

test('the command line leaves no trace of telemetry', () => {
  expect(leftBehind('command line')).toEqual([])
})

test('nor does the library', () => {
  expect(leftBehind('library')).toEqual([])
})

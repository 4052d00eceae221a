// SIGTERM -> exit status of a process that serves.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const SIGNALS = join(import.meta.dirname, '../../dist/cli/signals.js')

/** Returns the exit status after `signals` SIGTERMs of a process whose stop returns the promise of the expression `stop`. */
async function codeAfter(stop: string, signals: number): Promise<number | null> {
  const code = `import { stopOnSignals } from ${JSON.stringify(SIGNALS)}
    stopOnSignals(() => { console.log('stopping'); return ${stop} })
    setInterval(() => {}, 1000)
    console.log('up')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const exited = once(child, 'exit')
  for (let i = 0; i < signals; i++) {
    await once(child.stdout, 'data')
    child.kill('SIGTERM')
  }
  const [exit] = await exited
  return exit
}

test('the first SIGTERM stops in order and exits with 0, or with 1 if the stop fails', async () => {
  expect(await codeAfter('Promise.resolve()', 1)).toBe(0)
  expect(await codeAfter('Promise.reject(new Error("stuck"))', 1)).toBe(1)
})

test('the second SIGTERM exits with 143 without waiting for the stop', async () => {
  expect(await codeAfter('new Promise(() => {})', 2)).toBe(143)
})

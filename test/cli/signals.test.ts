// How a process that serves ends, as its platform sees it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const SIGNALS = join(import.meta.dirname, '../../dist/cli/signals.js')

/** A process whose stop takes `stop`; its exit code after so many SIGTERMs. */
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

test('told once it stops in order and ends with 0, or 1 where that failed', async () => {
  expect(await codeAfter('Promise.resolve()', 1)).toBe(0)
  expect(await codeAfter('Promise.reject(new Error("stuck"))', 1)).toBe(1)
})

test('told twice it ends at once', async () => {
  expect(await codeAfter('new Promise(() => {})', 2)).toBe(143)
})

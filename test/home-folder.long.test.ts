// Commands started by a user without a home folder: they name the setting that takes its place. Eight processes, so not in `npm test`.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'

describe('a user without a passwd entry and without HOME', () => {
  const MAIN = join(import.meta.dirname, '../dist/cli/main.js')
  /** Replaces os.homedir() by one that behaves as for such a user: HOME, or else it throws (libuv, uv_os_homedir). */
  const STUB = `data:text/javascript,${encodeURIComponent(
    `import os from 'node:os'; import { syncBuiltinESMExports } from 'node:module'
    os.homedir = () => {
      if (process.env.HOME) return process.env.HOME
      throw new Error('A system error occurred: uv_os_homedir returned ENOENT (no such file or directory)')
    }
    syncBuiltinESMExports()`,
  )}`
  const UID_WITHOUT_ENTRY = 54_321
  const { HOME: _, GLIMPSE_CACHE: __, GLIMPSE_STATE: ___, ...env } = process.env
  const stubbed = (args: string[], more: Record<string, string>) =>
    spawnSync(process.execPath, ['--import', STUB, MAIN, ...args], {
      env: { ...env, ...more },
      encoding: 'utf8',
    })
  const asOtherUser = (args: string[], more: Record<string, string>) =>
    spawnSync(process.execPath, args, {
      env: { ...env, ...more },
      encoding: 'utf8',
      uid: UID_WITHOUT_ENTRY,
      gid: UID_WITHOUT_ENTRY,
    })
  /** Only root may start a process as another user, and that user must be able to read dist/. */
  const canChangeUser =
    process.getuid?.() === 0 &&
    asOtherUser(['-e', `require('fs').accessSync(${JSON.stringify(MAIN)})`], {}).status === 0

  describe.each([
    ['stubbed', true, stubbed],
    [
      'with another uid',
      canChangeUser,
      (args: string[], more: Record<string, string>) => asOtherUser([MAIN, ...args], more),
    ],
  ])('%s', (_, isPossible, glimpse) => {
    test.runIf(isPossible).each([
      ['caption', ['caption', 'none.png'], 'GLIMPSE_CACHE'],
      ['listen', ['listen', '--port', '0'], 'GLIMPSE_STATE'],
    ])('%s names the setting for the folder, without a stack trace', (_, args, setting) => {
      const chat = {
        DISCORD_TOKEN: 'token-of-the-tests',
        GLIMPSE_QUEUE: 'https://sqs.eu-west-1.amazonaws.com/1/q.fifo',
      }
      const { status, stderr } = glimpse(args, chat)
      expect(stderr).toContain(setting)
      expect(stderr).not.toMatch(/^ +at |uv_os_homedir/m)
      expect(status).toBe(1)
    })

    test.runIf(isPossible)(
      'doctor runs if GLIMPSE_STATE is set, and names GLIMPSE_CACHE for the cache',
      () => {
        const folder = mkdtempSync(join(tmpdir(), 'glimpse-config-'))
        onTestFinished(() => rmSync(folder, { recursive: true }))
        const { stdout } = glimpse(['doctor', '--json'], { GLIMPSE_MODEL: '/nowhere', GLIMPSE_STATE: folder })
        const { checks } = JSON.parse(stdout) as { checks: { name: string; status: string; todo?: string }[] }
        const cache = checks.find(({ name }) => name === 'cache')
        expect(cache).toMatchObject({ status: 'warn', todo: expect.stringContaining('GLIMPSE_CACHE') })
      },
    )
  })
})

// README.md, docs/settings.md and docs/http.md name existing commands, files and settings, and the example of the README is exact.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SETTINGS } from '../src/config.ts'
import { TASKS } from '../src/engine/tasks.ts'
import { generationSettings } from '../src/generation-settings.ts'

const ROOT = join(import.meta.dirname, '..')
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const PAGE = readFileSync(join(ROOT, 'docs/settings.md'), 'utf8')
const glimpse = (args: string[]) =>
  execFileSync(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...args], { cwd: ROOT, encoding: 'utf8' })

test('the example of the README is the output of the embedded model', () => {
  const [, session] = /```console\n([\s\S]*?)```/.exec(README)!
  const lines = session!.trim().split('\n')
  for (let i = 0; i < lines.length; i += 2) {
    const [, command, picture, question] = /^\$ npx glimpse (\w+) (\S+)(?: "(.*)")?$/.exec(lines[i]!)!
    const output = glimpse([command!, picture!, ...(question === undefined ? [] : [question])])
    expect(output.trim()).toBe(lines[i + 1])
  }
})

test('every file that the README links to exists', () => {
  const links = [...README.matchAll(/\]\(([^)#]+)\)|src="([^"]+)"/g)].map(
    ([, link, source]) => link ?? source!,
  )
  const missing = links.filter((link) => !link.startsWith('https://') && !existsSync(join(ROOT, link)))
  expect(missing).toEqual([])
})

test('every command that the README shows exists', () => {
  const help = glimpse(['--help'])
  for (const [, command] of README.matchAll(/npx glimpse (\w+)/g)) expect(help).toContain(`\n  ${command} `)
})

test('the table of docs/settings.md equals the table of config.ts', () => {
  const rows = [...PAGE.matchAll(/^\| `([A-Z]\w+)` \| (.*) \| (.*) \|$/gm)].map(([, ...cells]) => cells)
  expect(rows).toEqual(
    Object.values(SETTINGS).map(({ env, description, defaultText }) => [env, description, defaultText]),
  )
})

test('docs/settings.md names every generation setting', () => {
  for (const name of Object.keys(generationSettings.shape)) expect(PAGE).toContain(`\`${name}\``)
})

test('the table of docs/http.md has every task with its fields', () => {
  const page = readFileSync(join(ROOT, 'docs/http.md'), 'utf8')
  const [, table] = /\| task \| fields [^\n]*\n\|---\|---\|\n((?:\|.*\n)+)/.exec(page)!
  const rows = [...table!.matchAll(/^\| `(\w+)` \| (.*) \|$/gm)].map(([, task, cell]) => {
    return [task, [...cell!.matchAll(/`(\w+)`/g)].map(([, field]) => field).sort()]
  })
  expect(rows).toEqual(
    Object.entries(TASKS).map(([task, { fields }]) => [task, Object.keys(fields.shape).sort()]),
  )
})

test('README.md and docs/library.md import the package by the name in package.json', () => {
  const { name } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const pages = [README, readFileSync(join(ROOT, 'docs/library.md'), 'utf8')]
  const imported = pages.flatMap((page) =>
    [...page.matchAll(/^import .* from '([^.':]+)'$/gm)].map((match) => match[1]),
  )
  expect(new Set(imported)).toEqual(new Set([name]))
  expect(README.indexOf('npm install')).toBeLessThan(README.indexOf('npx glimpse'))
})

test('package.json has the scripts start, test and prepare', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  expect(Object.keys(scripts)).toEqual(expect.arrayContaining(['start', 'test', 'prepare']))
})

// scripts/compile.mjs on a temporary project of two TypeScript files and a page.

import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
let project: string

beforeEach(async () => {
  project = await mkdtemp(join(tmpdir(), 'glimpse-compile-'))
  await mkdir(join(project, 'scripts'))
  await mkdir(join(project, 'src/cli'), { recursive: true })
  for (const name of ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json', 'scripts/compile.mjs']) {
    await cp(join(ROOT, name), join(project, name))
  }
  await symlink(join(ROOT, 'node_modules'), join(project, 'node_modules'))
  await writeFile(join(project, 'package.json'), '{"type":"module"}')
  await source('cli/main.ts', "import { word } from '../word.ts'\nconsole.log(word)\n")
  await source('word.ts', "export const word: string = 'one'\n")
  await source('page.html', '<p>one</p>')
})
afterEach(() => rm(project, { recursive: true, force: true }))

const source = (path: string, text: string) => writeFile(join(project, 'src', path), text)

function run(script: string): Promise<{ code: number | null; text: string }> {
  const child = spawn(process.execPath, [join(project, script)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk))
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, text })))
}
const compile = () => run('scripts/compile.mjs')

/** Path -> inode and modification time, which change when a file is written again. */
async function fileVersions(): Promise<Map<string, string>> {
  const names = await readdir(join(project, 'dist'), { recursive: true })
  const files = names.sort().map(async (name): Promise<[string, string]> => {
    const { ino, mtimeMs } = await stat(join(project, 'dist', name))
    return [name, `${ino} ${mtimeMs}`]
  })
  return new Map(await Promise.all(files))
}

test('compiles, copies other files, and writes nothing the second time', async () => {
  expect(await compile()).toEqual({ code: 0, text: '' })
  expect(await readFile(join(project, 'dist/page.html'), 'utf8')).toBe('<p>one</p>')
  expect((await stat(join(project, 'dist/cli/main.js'))).mode & 0o111).toBe(0o111)
  expect(await run('dist/cli/main.js')).toEqual({ code: 0, text: 'one\n' })
  const before = await fileVersions()
  expect(await compile()).toEqual({ code: 0, text: '' })
  expect(await fileVersions()).toEqual(before)
})

test('replaces changed files, keeps unchanged ones and the bundles, and removes files without a source', async () => {
  await compile()
  await mkdir(join(project, 'dist/lambda'))
  await writeFile(join(project, 'dist/lambda/http.js'), '')
  await writeFile(join(project, 'dist/package.json'), '{"type":"module"}')
  const before = await fileVersions()
  await source('word.ts', "export const word: string = 'two'\n")
  await rm(join(project, 'src/page.html'))
  await compile()
  const after = await fileVersions()
  expect(await run('dist/cli/main.js')).toEqual({ code: 0, text: 'two\n' })
  expect([...before.keys()].filter((path) => !after.has(path))).toEqual(['page.html'])
  const changed = [...after].filter(([path, version]) => path.includes('.') && before.get(path) !== version)
  expect(changed.map(([path]) => path)).toEqual(['.compiled.json', 'word.js'])
})

test('compiles again if an output was changed', async () => {
  await compile()
  await writeFile(join(project, 'dist/word.js'), 'export const other = 1')
  await compile()
  expect(await run('dist/cli/main.js')).toEqual({ code: 0, text: 'one\n' })
})

test('two compiles at once give one complete result and leave no temporary files', async () => {
  await compile()
  await source('word.ts', "export const word: string = 'two'\n")
  expect(await Promise.all([compile(), compile()])).toEqual([
    { code: 0, text: '' },
    { code: 0, text: '' },
  ])
  expect(await run('dist/cli/main.js')).toEqual({ code: 0, text: 'two\n' })
  const kept = (await readdir(project)).sort()
  expect(kept.filter((name) => name.startsWith('.'))).toEqual([])
  const before = await fileVersions()
  await compile()
  expect(await fileVersions()).toEqual(before)
})

test('a type error fails and changes no output', async () => {
  await compile()
  const before = await fileVersions()
  await source('word.ts', 'export const word: string = 1\n')
  expect(await compile()).toMatchObject({ code: 2, text: expect.stringContaining('word.ts') })
  expect(await fileVersions()).toEqual(before)
})

test('without typescript, prints one line that names what is missing and exits with 0', async () => {
  await rm(join(project, 'node_modules'))
  const { code, text } = await compile()
  expect(code).toBe(0)
  expect(text).toMatch(/^dist\/ is missing and typescript is not installed: .*\n$/)
})

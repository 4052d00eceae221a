// src/ -> dist/: TypeScript compiled, every other file copied.
//
// Other processes may load dist/ during a compile (npx, tests, servers). If dist/ is up to date, nothing is written. Otherwise
// src/ is compiled into a temporary folder beside dist/, and each file that differs is renamed into dist/; the stamp is
// renamed last. The stamp has the hashes of inputs and outputs, so after two concurrent compiles the next one detects and
// repairs a mix of both. deploy/bundle.mjs writes dist/lambda and dist/package.json.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const DIST = join(ROOT, 'dist')
const STAMP = join(DIST, '.compiled.json')
/** scripts/kernels.mjs compiles AssemblyScript. */
const isAssemblyScript = (path) => path.endsWith('.as.ts')
const isBundle = (path) => path === 'package.json' || path.startsWith('lambda/')

function filesBelow(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()
}

const hashOf = (path) => createHash('sha256').update(readFileSync(path)).digest('hex')
const hashesOf = (folder, paths) =>
  Object.fromEntries(
    paths.map((path) => [path, existsSync(join(folder, path)) && hashOf(join(folder, path))]),
  )

function inputs() {
  const sources = filesBelow(join(ROOT, 'src')).filter((path) => !isAssemblyScript(path))
  const settings = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json', 'scripts/compile.mjs']
  return JSON.stringify(hashesOf(ROOT, [...settings, ...sources.map((path) => join('src', path))]))
}

function isCurrent(wanted) {
  if (!existsSync(STAMP)) return false
  const { inputs, outputs } = JSON.parse(readFileSync(STAMP, 'utf8'))
  return inputs === wanted && JSON.stringify(hashesOf(DIST, Object.keys(outputs))) === JSON.stringify(outputs)
}

/** Returns the path of the compiler, or undefined if only production packages are installed. */
function compiler() {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  } catch {
    return undefined
  }
}

/** @returns the exit status of the compiler */
function compileInto(folder, tsc) {
  const args = [tsc, '-p', join(ROOT, 'tsconfig.build.json'), '--outDir', folder]
  const { status } = spawnSync(process.execPath, args, { stdio: 'inherit' })
  if (status !== 0) return status ?? 1
  for (const path of filesBelow(join(ROOT, 'src')).filter((path) => !path.endsWith('.ts'))) {
    cpSync(join(ROOT, 'src', path), join(folder, path))
  }
  chmodSync(join(folder, 'cli/main.js'), 0o755)
  return 0
}

function moveInto(folder, stamp) {
  const before = filesBelow(DIST)
  for (const [path, hash] of Object.entries(stamp.outputs)) {
    const target = join(DIST, path)
    if (existsSync(target) && hashOf(target) === hash) continue
    mkdirSync(dirname(target), { recursive: true })
    renameSync(join(folder, path), target)
  }
  for (const path of before.filter((path) => !(path in stamp.outputs) && !isBundle(path))) {
    if (path !== '.compiled.json') rmSync(join(DIST, path), { force: true })
  }
  writeFileSync(join(folder, 'stamp'), JSON.stringify(stamp))
  renameSync(join(folder, 'stamp'), STAMP)
}

function compile() {
  const wanted = inputs()
  if (isCurrent(wanted)) return 0
  const tsc = compiler()
  if (!tsc) {
    const state = existsSync(join(DIST, 'cli/main.js')) ? 'older than src/' : 'missing'
    console.error(
      `dist/ is ${state} and typescript is not installed: run \`npm ci\`, or copy dist/ into this folder.`,
    )
    return 0
  }
  const folder = mkdtempSync(join(ROOT, '.compile-'))
  try {
    const status = compileInto(folder, tsc)
    if (status === 0) moveInto(folder, { inputs: wanted, outputs: hashesOf(folder, filesBelow(folder)) })
    return status
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

process.exitCode = compile()

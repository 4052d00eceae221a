// Builds the Lambda layers, mounted under /opt: onnxruntime, sharp and the embedded model. npm run layers [-- --arch arm64]
//
//   layers/built/<arch>/onnxruntime/nodejs/node_modules/...   only the CPU library for Linux and one architecture
//   layers/built/<arch>/sharp/nodejs/node_modules/...         with libvips
//   layers/built/<arch>/model/glimpse/model/...               models/pico and pico-itm, built, so that a cold start builds nothing
//
// Versions are those of package-lock.json. A package that is not installed (binaries of another architecture) is downloaded
// from the npm registry and must match the lock file's checksum. A layer is rebuilt only if its inputs changed.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** Lambda's limit for the unzipped code and layers of a function ("Lambda quotas"). */
export const LIMIT_BYTES = 250 * 1024 * 1024
const MIB = 1024 * 1024

/** Packages of each layer, with a filter for the files used at run time: no typings, sources or other systems' binaries. */
const LAYERS = {
  onnxruntime: (arch) => ({
    'onnxruntime-node': (path) =>
      path === 'package.json' ||
      /^dist\/[^/]+\.js$/.test(path) ||
      // Lambda has no GPU, so its libraries are excluded even if an install has them.
      (path.startsWith(`bin/napi-v6/linux/${arch}/`) && !/cuda|tensorrt/i.test(path)),
    'onnxruntime-common': (path) => path === 'package.json' || /^dist\/cjs\/.*\.(js|json)$/.test(path),
  }),
  sharp: (arch) => ({
    sharp: (path) => path === 'package.json' || /^(lib|dist)\/.*\.(js|cjs|mjs)$/.test(path),
    [`@img/sharp-linux-${arch}`]: isRun,
    [`@img/sharp-libvips-linux-${arch}`]: isRun,
    '@img/colour': isRun,
    'detect-libc': isRun,
    semver: isRun,
  }),
}
/** The embedded model, and the one that matches behind the same vision tower. */
const CHECKPOINTS = ['models/pico', 'models/pico-itm'].map((path) => join(ROOT, path))

function isRun(path) {
  return !/\.(d\.ts|md|map)$/.test(path)
}

/**
 * Builds the layers that are missing or outdated.
 * @param arch x64 or arm64, as Node names them
 * @returns folder and bytes of each layer
 */
export function buildLayers(arch) {
  if (arch !== 'x64' && arch !== 'arm64')
    throw new Error(`Expected the architecture x64 or arm64 but got ${arch}.`)
  const out = join(ROOT, 'layers/built', arch)
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')).packages
  for (const [name, of] of Object.entries(LAYERS)) {
    const wanted = of(arch)
    const versions = Object.keys(wanted).map((each) => `${each}@${lockedOf(lock, each).version}`)
    makeOnce(join(out, name), versions.join(' '), (folder) => {
      for (const [each, isWanted] of Object.entries(wanted)) {
        const from = sourceOf(each, lockedOf(lock, each))
        const to = join(folder, 'nodejs/node_modules', each)
        for (const path of filesIn(from).filter(isWanted)) cpSync(join(from, path), join(to, path))
      }
    })
  }
  makeOnce(join(out, 'model'), CHECKPOINTS.map(checksumOf).join(' '), (folder) => {
    const cli = join(ROOT, 'dist/cli/main.js')
    if (!existsSync(cli)) execFileSync('npm', ['run', '--silent', 'compile'], { cwd: ROOT, stdio: 'inherit' })
    const place = join(folder, 'glimpse/model')
    mkdirSync(join(folder, 'glimpse'), { recursive: true })
    // fp32, because the model is so small that lower precision saves nothing (src/builder/embedded.ts).
    const [checkpoint, matching] = CHECKPOINTS
    const what = ['build', checkpoint, '--with', matching, '--precision', 'fp32', '--name', 'glimpse-pico']
    execFileSync(process.execPath, [cli, ...what, '--out', place], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  })
  return [...Object.keys(LAYERS), 'model'].map((name) => ({
    name,
    folder: join(out, name),
    bytes: sizeOf(join(out, name)),
  }))
}

/** @returns the total in bytes. @throws Error if Lambda would refuse functions with these layers */
export function checkSizes(layers, codeBytes) {
  const total = layers.reduce((sum, { bytes }) => sum + bytes, codeBytes)
  if (total > LIMIT_BYTES) {
    throw new Error(
      `Code and layers are ${(total / MIB).toFixed(1)} MiB unzipped; Lambda allows ${LIMIT_BYTES / MIB} MiB. Remove files in LAYERS (layers/build.mjs).`,
    )
  }
  return total
}

/**
 * Makes `folder` unless it exists with the same inputs. A folder with a matching stamp file is complete. The stamp is written
 * before the folder, so a process that finds another's folder knows its inputs and does not remove it while in use.
 */
export function makeOnce(folder, inputs, make) {
  const stamp = `${folder}.txt`
  const stamped = () => (existsSync(stamp) ? readFileSync(stamp, 'utf8') : '')
  const isMade = () => stamped() === inputs && existsSync(folder)
  if (isMade()) return
  const partial = `${folder}.${process.pid}`
  mkdirSync(partial, { recursive: true })
  try {
    make(partial)
    if (isMade()) return
    if (stamped() !== '' && stamped() !== inputs) rmSync(folder, { recursive: true, force: true })
    writeFileSync(stamp, inputs)
    renameSync(partial, folder)
  } catch (error) {
    // ENOTEMPTY: another process was first.
    if (!isMade()) throw error
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
}

function lockedOf(lock, name) {
  const locked = lock[`node_modules/${name}`]
  if (!locked) throw new Error(`package-lock.json has no ${name}. Run: npm install`)
  return locked
}

/** Returns the folder of the installed package if its version is the lock file's, otherwise of a download from the registry. */
function sourceOf(name, { version, integrity }) {
  const installed = join(ROOT, 'node_modules', name)
  const manifest = join(installed, 'package.json')
  if (existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).version === version) return installed
  const folder = mkdtempSync(join(tmpdir(), 'glimpse-layer-'))
  const output = execFileSync(
    'npm',
    ['pack', `${name}@${version}`, '--silent', '--pack-destination', folder],
    {
      encoding: 'utf8',
    },
  )
  const archive = join(folder, basename(output.trim().split('\n').at(-1)))
  const [kind] = integrity.split('-')
  const got = `${kind}-${createHash(kind).update(readFileSync(archive)).digest('base64')}`
  if (got !== integrity)
    throw new Error(
      `${name}@${version} from the registry has the checksum ${got}; package-lock.json expects ${integrity}.`,
    )
  execFileSync('tar', ['-xzf', archive, '-C', folder])
  return join(folder, 'package')
}

function filesIn(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((path) => !path.startsWith('node_modules/'))
    .sort()
}

export function sizeOf(folder) {
  return filesInAll(folder).reduce((sum, path) => sum + statSync(path).size, 0)
}

function filesInAll(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

function checksumOf(folder) {
  const hash = createHash('sha256')
  for (const path of filesInAll(folder)) hash.update(relative(folder, path)).update(readFileSync(path))
  return hash.digest('hex')
}

/** Builds everything and prints a table of sizes. */
async function main() {
  const given = process.argv.indexOf('--arch')
  const arch = given < 0 ? 'x64' : process.argv[given + 1]
  const { bundle } = await import('../deploy/bundle.mjs')
  const code = await bundle()
  const layers = buildLayers(arch)
  const line = (name, bytes) => console.log(`${name.padEnd(28)}${(bytes / MIB).toFixed(1).padStart(7)} MiB`)
  for (const { name, bytes } of layers) line(`layer ${name} (${arch})`, bytes)
  line('all functions, bundled', code)
  line('total, at most 250', checkSizes(layers, code))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) void main()

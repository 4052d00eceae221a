// Prepares node_modules/onnxruntime-node for `npm pack`, which bundles it: package.json is replaced by one that lists only the
// files of this machine's platform and has no install script. `--restore` undoes that; npm calls it after packing, but not after
// `npm pack --dry-run`.
//
// The tarball then runs on this platform only. scripts/release.mjs makes packages for all of them.

import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
export const ENGINE = join(ROOT, 'node_modules/onnxruntime-node')
/** onnxruntime-node has no licence file. These stand in the Python wheel of the same version. */
export const NOTICES = join(ROOT, 'licenses/onnxruntime')
/**
 * Not needed on a CPU: libraries of CUDA, and on Windows of WebGPU (38 MB). On macOS the library is there twice, under two
 * names; the binding loads the shorter one.
 */
const LEFT_OUT = /cuda|tensorrt|DirectML|dxil|dxcompiler|^libonnxruntime\.\d+\.\d+\.\d+\.dylib$/i

/** Folders of binaries, as `linux/x64`. */
export function platforms() {
  const folder = join(ENGINE, 'bin/napi-v6')
  return readdirSync(folder).flatMap((system) =>
    readdirSync(join(folder, system)).map((arch) => `${system}/${arch}`),
  )
}

/** The binaries of a platform that a package needs, as paths in onnxruntime-node. */
export function binariesOf(platform) {
  const folder = `bin/napi-v6/${platform}`
  return readdirSync(join(ENGINE, folder))
    .filter((name) => !LEFT_OUT.test(name))
    .map((name) => `${folder}/${name}`)
}

/** onnxruntime-node's package.json without what an install would run or download. */
export function engineManifest() {
  const { scripts, devDependencies, binary, dependencies, ...manifest } = JSON.parse(
    readFileSync(existsSync(ORIGINAL) ? ORIGINAL : MANIFEST, 'utf8'),
  )
  return { ...manifest, dependencies: { 'onnxruntime-common': dependencies['onnxruntime-common'] } }
}

const MANIFEST = join(ENGINE, 'package.json')
const ORIGINAL = join(ENGINE, 'package.json.original')

function prepare() {
  const platform = `${process.platform}/${process.arch}`
  if (!platforms().includes(platform)) {
    throw new Error(`Expected one of ${platforms().join(', ')} but this machine is ${platform}.`)
  }
  const files = ['dist/*.js', 'dist/*.d.ts', ...binariesOf(platform), 'LICENSE', 'ThirdPartyNotices.txt']
  const manifest = { ...engineManifest(), files }
  cpSync(NOTICES, ENGINE, { recursive: true })
  if (!existsSync(ORIGINAL)) cpSync(MANIFEST, ORIGINAL)
  // Renamed into place: another process may be reading it.
  writeFileSync(`${MANIFEST}.new`, `${JSON.stringify(manifest, null, 2)}\n`)
  renameSync(`${MANIFEST}.new`, MANIFEST)
}

function restore() {
  if (existsSync(ORIGINAL)) renameSync(ORIGINAL, MANIFEST)
  for (const name of readdirSync(NOTICES)) rmSync(join(ENGINE, name), { force: true })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--restore')) restore()
  else prepare()
}

// The packages that an owner publishes, one for each platform: node scripts/release.mjs --scope @you [--name @you/glimpse] [--out release]
//
//   <name>                              Glimpse, with its engine as a dependency in place of a bundled copy
//   <scope>/onnxruntime                 onnxruntime-node without install script and binaries
//   <scope>/onnxruntime-linux-x64 ...   the binaries of one platform; npm installs the one that fits (os, cpu, libc)
//
// Nothing is published. The last lines say how. `npm pack` alone makes one tarball for this machine's platform.

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { binariesOf, ENGINE, engineManifest, NOTICES, platforms } from './engine.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** How onnxruntime-node loads its binary. */
const LOADS_BINARY = /require\(`\.\.\/bin\/napi-v6\/[^`]+\/onnxruntime_binding\.node`\)/

const { values } = parseArgs({
  options: {
    scope: { type: 'string' },
    name: { type: 'string' },
    out: { type: 'string', default: 'release' },
  },
})
if (!/^@[a-z0-9-]+$/.test(values.scope ?? '')) {
  throw new Error(`Expected --scope like @you, under which you may publish, but got ${values.scope}.`)
}
const { scope } = values
const out = resolve(values.out)
const work = mkdtempSync(join(tmpdir(), 'glimpse-release-'))
mkdirSync(out, { recursive: true })
try {
  const engine = engineManifest()
  const binaries = platforms().map((platform) => packBinaries(platform, engine.version))
  const tarballs = [
    ...binaries.map(({ tarball }) => tarball),
    packEngine(engine, binaries),
    packGlimpse(engine.version),
  ]
  console.log(`In ${out}, to be published in this order:\n`)
  for (const tarball of tarballs) console.log(`  npm publish ${basename(tarball)} --access public`)
} finally {
  rmSync(work, { recursive: true })
}

/** Binaries of a platform, with the licences that they need. */
function packBinaries(platform, version) {
  const [system, arch] = platform.split('/')
  const name = `${scope}/onnxruntime-${system}-${arch}`
  const folder = join(work, `${system}-${arch}`)
  for (const path of binariesOf(platform)) copy(join(ENGINE, path), join(folder, basename(path)))
  cpSync(NOTICES, folder, { recursive: true })
  // The binaries for Linux need glibc.
  const libc = system === 'linux' ? { libc: ['glibc'] } : {}
  const what = { os: [system], cpu: [arch], ...libc, main: 'onnxruntime_binding.node' }
  return {
    name,
    tarball: pack(folder, {
      name,
      version,
      license: 'MIT',
      description: `onnxruntime for ${platform}`,
      ...what,
    }),
  }
}

/** onnxruntime-node's JavaScript, which loads the binary from the platform's package. */
function packEngine({ description, license, main, types, dependencies, version }, binaries) {
  const folder = join(work, 'engine')
  cpSync(join(ENGINE, 'dist'), join(folder, 'dist'), { recursive: true })
  cpSync(NOTICES, folder, { recursive: true })
  const binding = join(folder, 'dist/binding.js')
  const text = readFileSync(binding, 'utf8')
  if (!LOADS_BINARY.test(text)) throw new Error(`Expected ${LOADS_BINARY} in ${binding}.`)
  writeFileSync(
    binding,
    text.replace(
      LOADS_BINARY,
      () => `require(\`${scope}/onnxruntime-\${process.platform}-\${process.arch}\`)`,
    ),
  )
  const optionalDependencies = Object.fromEntries(binaries.map(({ name }) => [name, version]))
  const manifest = {
    name: `${scope}/onnxruntime`,
    version,
    description,
    license,
    main,
    types,
    dependencies,
    optionalDependencies,
  }
  return pack(folder, manifest)
}

/** The tarball of `npm pack` without the bundled engine, under the owner's name. */
function packGlimpse(version) {
  const folder = join(work, 'glimpse')
  mkdirSync(folder)
  const [tarball] = npmPack(ROOT, work)
  execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', folder])
  rmSync(join(folder, 'node_modules'), { recursive: true })
  const {
    private: _,
    scripts,
    devDependencies,
    overrides,
    allowScripts,
    bundleDependencies,
    dependencies,
    ...manifest
  } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const engine = { 'onnxruntime-node': `npm:${scope}/onnxruntime@${version}` }
  const name = values.name ?? manifest.name
  for (const page of ['README.md', 'docs/library.md']) {
    const text = readFileSync(join(folder, page), 'utf8')
    writeFileSync(join(folder, page), text.replaceAll(`from '${manifest.name}'`, `from '${name}'`))
  }
  return pack(folder, { ...manifest, name, dependencies: { ...dependencies, ...engine } })
}

/** Packs a folder with this package.json into the folder of the release. @returns the tarball's path */
function pack(folder, manifest) {
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
  return npmPack(folder, out)[0]
}

function npmPack(folder, destination) {
  const args = ['pack', '--silent', '--json', '--pack-destination', destination]
  const packed = JSON.parse(execFileSync('npm', args, { cwd: folder, encoding: 'utf8', maxBuffer: 1e8 }))
  return Object.values(packed).map(({ filename }) =>
    join(destination, filename.replace('@', '').replace('/', '-')),
  )
}

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true })
  cpSync(from, to)
}

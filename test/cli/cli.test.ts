// The commands as processes.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Command } from 'commander'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FIXTURES } from '../fixtures.ts'
import { configWith, makeCheckpoint, silentTensors } from '../make-checkpoint.ts'
import { glimpse, ROOT } from './glimpse.ts'

const DISC = join(FIXTURES, 'references/disc-40x30.png')
const TRIANGLE = join(FIXTURES, 'references/triangle-33x57.png')
let folder: string
let artifact: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
  artifact = join(folder, 'plain')
  const { code, out, err } = await glimpse([
    'build',
    join(FIXTURES, 'checkpoints/plain'),
    '--out',
    artifact,
    '--precision',
    'fp32',
  ])
  expect(err).toBe('')
  expect(code).toBe(0)
  expect(out).toMatch(/^plain at fp32: [\d.]+ MB in .*, from [\d.]+ MB of weights\n/)
  expect(out).toContain(`glimpse caption --model ${artifact}`)
})
afterAll(() => rm(folder, { recursive: true }))

test('build reports a model that answers with empty text', async () => {
  const config = await configWith({})
  const silent = await makeCheckpoint(config, silentTensors(config))
  const { out, code } = await glimpse([
    'build',
    silent,
    '--out',
    join(folder, 'silent'),
    '--precision',
    'fp32',
  ])
  await rm(silent, { recursive: true })
  expect(code).toBe(0)
  expect(out).toContain('answers with empty text')
})

test('caption --json is one line with text, ids, prompt, times and the model', async () => {
  const { out, code } = await glimpse(['caption', '--json', '--model', artifact, DISC])
  expect(code).toBe(0)
  expect(out.trim().split('\n')).toHaveLength(1)
  const reply = JSON.parse(out)
  expect(Object.keys(reply.timings_ms)).toEqual([
    'queue',
    'image',
    'pixels',
    'vision',
    'queries',
    'tokens',
    'total',
  ])
  expect(reply).toMatchObject({
    text: expect.any(String),
    token_ids: expect.any(Array),
    prompt: '',
    model: 'plain',
  })
})

test('ask puts the question into the prompt', async () => {
  const { out } = await glimpse(['ask', '--json', '--model', artifact, DISC, 'what is it?'])
  expect(JSON.parse(out)).toMatchObject({ prompt: 'Question: what is it? Answer:' })
})

test('generation flags are transformers’ names with dashes', async () => {
  const args = [
    '--num-beams',
    '3',
    '--num-return-sequences',
    '2',
    '--max-new-tokens',
    '4',
    '--early-stopping',
    'never',
  ]
  const { out } = await glimpse(['caption', '--json', '--model', artifact, ...args, DISC])
  const { sequences } = JSON.parse(out)
  expect(sequences).toHaveLength(2)
  for (const { token_ids } of sequences) expect(token_ids.length).toBeLessThanOrEqual(4)
})

test('a bad picture among several costs only its own caption', async () => {
  const text = join(folder, 'notes.txt')
  await writeFile(text, 'no picture')
  const { out, err, code } = await glimpse(['caption', '--json', '--model', artifact, DISC, text, TRIANGLE])
  expect(
    out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).image),
  ).toEqual([DISC, TRIANGLE])
  expect(err).toContain(text)
  expect(err).toContain('Expected a JPEG')
  expect(code).toBe(1)
})

test.each([
  [['caption', '--model', '/nowhere', DISC], 'glimpse build <checkpoint>'],
  [['caption', 'nothere.png'], 'there is no such file'],
  [['ask', DISC, '  '], 'Expected a question'],
  [['ask', DISC, 'what', 'is', 'this'], `Ask: npx glimpse ask ${DISC} "what is this"`],
  [['ask', 'what is this?', DISC], `Ask: npx glimpse ask ${DISC} "what is this?"`],
  [[DISC], `npx glimpse caption ${DISC}`],
  [['caption', 'https://example.org/a.jpg'], 'curl -sSL https://example.org/a.jpg | npx glimpse caption -'],
  [['caption', '--num-beams', '0', DISC], 'Expected a whole number from 1 to 64.'],
  [['caption', '--top-p', '2', DISC], 'Expected a number from 0 to 1.'],
  [['caption', '--num-beams', 'many', DISC], '--num-beams'],
  [['caption', '--beams', '3', DISC], 'unknown option'],
  [['build', '/nowhere', '--out', '/tmp/never'], 'config.json'],
  [['build', 'src', '--out', 'src'], 'expected a new or empty folder, or an artifact'],
])('%j ends with what to do', async (args, words) => {
  const { code, err, out } = await glimpse(args)
  expect(code).toBe(1)
  expect(err).toContain(words)
  expect(err).not.toContain('    at ')
  expect(out).toBe('')
})

test('a failed build leaves no files', async () => {
  const { code } = await glimpse(['build', join(FIXTURES, 'references'), '--out', join(folder, 'broken')])
  expect(code).toBe(1)
  expect(await readdir(folder)).not.toContain('broken')
})

test('wrong and unknown settings are reported together', async () => {
  const { err, code } = await glimpse(['caption', DISC], { GLIMPSE_PORT: 'http', GLIMPSE_PROT: '1' })
  expect(code).toBe(1)
  expect(err).toContain('GLIMPSE_PORT must be a whole number')
  expect(err).toContain('GLIMPSE_PROT is no setting')
})

test('--help works when a setting is wrong', async () => {
  const { out, code } = await glimpse(['--help'], { GLIMPSE_PORT: 'http' })
  expect(code).toBe(0)
  expect(out).toContain('GLIMPSE_PORT')
})

test('serve prints a command that works for a model whose path needs quotes', async () => {
  const model = join(folder, "it's mine")
  await cp(artifact, model, { recursive: true })
  const server = spawn(process.execPath, ['dist/cli/main.js', 'serve', '--port', '0', '--model', model], {
    cwd: ROOT,
  })
  try {
    let printed = ''
    for await (const text of server.stdout) {
      printed += text
      if (printed.includes('Ctrl-C')) break
    }
    const line = /Command line +npx glimpse (.*)/.exec(printed)![1]!
    const command = `${process.execPath} dist/cli/main.js ${line} --json`
    const { stdout } = await promisify(execFile)('bash', ['-c', command], { cwd: ROOT })
    expect(JSON.parse(stdout)).toMatchObject({ model: 'plain' })
  } finally {
    server.kill('SIGTERM')
    await once(server, 'exit')
  }
})

test('a cache that cannot be written is reported with its setting', async () => {
  const { err, code } = await glimpse(['caption', DISC], { GLIMPSE_CACHE: '/proc/nope' })
  expect(code).toBe(1)
  expect(err).toContain('give another GLIMPSE_CACHE')
  expect(err).not.toContain('--out')
})

test('a fault of the tokenizer is reported once, in words', async () => {
  const checkpoint = join(folder, 'odd')
  await cp(join(FIXTURES, 'checkpoints/plain'), checkpoint, { recursive: true })
  await writeFile(join(checkpoint, 'tokenizer.json'), '{"model": {"type": "WordLevel"}}')
  const { err, code } = await glimpse(['build', checkpoint, '--out', join(folder, 'never')])
  expect(code).toBe(1)
  expect(err.trim().split('\n')).toEqual([
    expect.stringContaining(
      "model.type: Invalid discriminator value. Expected 'BPE' | 'Unigram' | 'WordPiece'",
    ),
  ])
})

test('serve on a port that is taken ends with what to do', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  const { code, err } = await glimpse(['serve', '--model', artifact, '--port', String(port)])
  other.close()
  expect(code).toBe(1)
  expect(err).toContain(String(port))
  expect(err).not.toContain('    at ')
})

test('ends without an error when the reader closes the pipe', async () => {
  const command = `${process.execPath} dist/cli/main.js caption --model ${artifact} ${DISC} ${TRIANGLE} ${DISC} | true`
  const { stderr } = await promisify(execFile)('bash', ['-c', command], { cwd: ROOT })
  expect(stderr).toBe('')
})

const linesOver = (columns: number, text: string) => text.split('\n').filter((line) => line.length > columns)

test('the help of every command has examples and fits 80 columns', async () => {
  const { out } = await glimpse(['--help'])
  expect(out).toContain('$ npx glimpse')
  expect(linesOver(80, out)).toEqual([])
  const names = [...out.matchAll(/^ {2}([a-z-]+) .*$/gm)]
    .map(([, name]) => name!)
    .filter((name) => name !== 'help')
  expect(names.length).toBeGreaterThan(10)
  for (const name of names) {
    // index.ts is the name of a file that re-exports.
    const file = name === 'index' ? 'index-folders' : name
    const module: Record<string, () => Command> = await import(`../../src/cli/${file}.ts`)
    let text = ''
    const command = module[
      `${name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())}Command`
    ]!().configureOutput({ writeOut: (piece) => (text += piece) })
    command.outputHelp()
    expect(text, name).toContain('$ npx glimpse')
    expect(linesOver(80, text), name).toEqual([])
  }
})

test('there are colours where they are asked for, and none with NO_COLOR', async () => {
  const [asked, refused] = await Promise.all([
    glimpse(['caption', 'nothere.png'], { FORCE_COLOR: '1' }),
    glimpse(['caption', 'nothere.png'], { NO_COLOR: '1' }),
  ])
  expect(asked.err).toContain('\u001b[31mglimpse:\u001b[39m Expected')
  expect(refused.err).toMatch(/^glimpse: Expected/)
})

test('serve with a wrong GLIMPSE_UPLOADS ends before it starts a model', async () => {
  const { code, err, out } = await glimpse(['serve', '--port', '0', '--model', artifact], {
    GLIMPSE_UPLOADS: 'somewhere',
  })
  expect(err).toContain('Expected GLIMPSE_UPLOADS like s3://bucket/prefix')
  expect(code).toBe(1)
  expect(out).toBe('')
})

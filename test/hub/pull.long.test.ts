// From a hub to an artifact, with faults: the same artifact as a build from files, or a clear error.

import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openArtifact, verifyFiles } from '../../src/artifact/open.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import type { Hub } from '../../src/hub/http.ts'
import { type PullOptions, pull } from '../../src/hub/pull.ts'
import { FIXTURES } from '../fixtures.ts'
import { configWith, makeCheckpoint, randomTensors, safetensors, silentTensors } from '../make-checkpoint.ts'
import { until } from '../until.ts'
import { COMMIT, type Double, type Fault, REPOSITORY, startDouble } from './double.ts'

const CHECKPOINT = join(FIXTURES, 'checkpoints/half-shards')
const SHARDS = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`)
const MAIN = join(import.meta.dirname, '../../dist/cli/main.js')

let room: string
let out: string
let double: Double
let hub: Hub
beforeEach(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  out = join(room, 'out')
  double = await startDouble(CHECKPOINT)
  hub = { endpoint: double.endpoint, stallMs: 600_000, retryMs: 5 }
})
afterEach(async () => {
  await double.close()
  await rm(room, { recursive: true })
})

const pulled = (options: Partial<PullOptions> = {}, name = REPOSITORY) =>
  pull(hub, name, out, { precision: 'int8', revision: 'main', trial: false, ...options })
const fault = (file: string, ...faults: Fault[]) => double.faults.set(file, faults)
const downloads = (file: string) =>
  double.asked.filter((line) => line === file || new RegExp(`^${file} \\d+-$`).test(line))

async function expectWhole(): Promise<void> {
  const manifest = await openArtifact(out)
  await verifyFiles(out, manifest)
  const local = await buildArtifact(CHECKPOINT, join(room, 'local'), { precision: 'int8', trial: false })
  expect(manifest.files).toEqual(local.files)
  expect((await readdir(room)).sort()).toEqual(['local', 'out'])
}

test('the artifact is the one that a build from files makes, and nothing else is left', async () => {
  const steps: { arrived: number; total: number }[] = []
  const manifest = await pulled({ onProgress: (step) => steps.push(step) })
  expect(manifest.source).toMatchObject({ checkpoint: REPOSITORY, commit: COMMIT })
  expect(manifest.name).toBe('half-shards')
  await expectWhole()
  expect(steps.at(-1)!.arrived).toBe(steps.at(-1)!.total)
  for (const shard of SHARDS) expect(downloads(shard)).toHaveLength(1)
})

test('the tokenizer of the Q-Former is fetched from its folder, and no other folder', async () => {
  await double.close()
  const checkpoint = join(FIXTURES, 'checkpoints/llama-grouped')
  double = await startDouble(checkpoint)
  double.files.set('onnx/model.onnx', Buffer.from('another form of the weights'))
  hub = { ...hub, endpoint: double.endpoint }
  const { files } = await pulled()
  const local = await buildArtifact(checkpoint, join(room, 'local'), { precision: 'int8', trial: false })
  expect(files).toEqual(local.files)
  expect(files.map(({ path }) => path)).toContain('qformer_tokenizer.json')
  expect(double.asked.filter((file) => file.startsWith('onnx'))).toEqual([])
})

test('a head that differs from the table of words is kept, whatever the config says', async () => {
  const tensors = randomTensors(await configWith({}))
  const table = tensors.find(({ name }) => name.endsWith('embed_tokens.weight'))!
  const head = { ...table, name: 'language_model.lm_head.weight', bytes: table.bytes.map((byte) => byte ^ 1) }
  const checkpoint = await makeCheckpoint(await configWith({}), [...tensors, head])
  await double.close()
  double = await startDouble(checkpoint)
  hub = { ...hub, endpoint: double.endpoint }
  const { files } = await pulled()
  const local = await buildArtifact(checkpoint, join(room, 'local'), { precision: 'int8', trial: false })
  expect(files).toEqual(local.files)
  await rm(checkpoint, { recursive: true })
})

test('--keep leaves the full-precision files as they were', async () => {
  const keep = join(room, 'kept')
  await pulled({ keep })
  for (const [name, bytes] of double.files) {
    if (name === 'generation_config.json') continue
    expect(await readFile(join(keep, name)), name).toEqual(bytes)
  }
  expect((await buildArtifact(keep, join(room, 'again'), { precision: 'int8', trial: false })).files).toEqual(
    (await openArtifact(out)).files,
  )
})

test('model.safetensors is fetched, and neither the index nor the shards beside it', async () => {
  const config = JSON.parse(double.files.get('config.json')!.toString())
  double.files.set('model.safetensors', safetensors(randomTensors(config)))
  const keep = join(room, 'kept')
  const { files } = await pulled({ keep })
  expect((await buildArtifact(keep, join(room, 'local'), { precision: 'int8', trial: false })).files).toEqual(
    files,
  )
  expect(SHARDS.flatMap(downloads)).toEqual([])
  expect(downloads('model.safetensors')).toHaveLength(1)
  expect(await readdir(keep)).not.toContain('model.safetensors.index.json')
})

test.each(['model.safetensors', 'special_tokens_map.json'])(
  '--keep is refused where %s is left over from another checkpoint',
  async (file) => {
    double.files.delete(file)
    const keep = join(room, 'kept')
    await mkdir(keep)
    await writeFile(join(keep, file), '{}')
    await expect(pulled({ keep })).rejects.toMatchObject({
      code: 'destination_taken',
      message: expect.stringContaining(file),
    })
    expect(SHARDS.flatMap(downloads)).toEqual([])
  },
)

describe('a connection', () => {
  test.each<[string, Fault[], number]>([
    ['that drops in the middle is resumed', [{ kind: 'drop', after: 30_000 }], 2],
    ['that drops again and again', Array.from({ length: 9 }, () => ({ kind: 'drop', after: 5_000 })), 10],
    ['that is slow is waited for', [{ kind: 'slow', piece: 8_000, everyMs: 20 }], 1],
    [
      'to a server that is busy is tried again',
      [
        { kind: 'status', status: 503 },
        { kind: 'status', status: 429, retryAfter: '0' },
      ],
      3,
    ],
    ['to a server without ranges begins anew', [{ kind: 'drop', after: 30_000 }, { kind: 'no ranges' }], 2],
  ])('%s', async (_, faults, requests) => {
    fault(SHARDS[1]!, ...faults)
    await pulled()
    await expectWhole()
    expect(downloads(SHARDS[1]!)).toHaveLength(requests)
  })

  test('that stalls is closed and resumed', async () => {
    hub = { ...hub, stallMs: 300 }
    fault(SHARDS[1]!, { kind: 'stall', after: 20_000 })
    await pulled()
    await expectWhole()
    // On a busy machine other connections may count as stalled too.
    expect(downloads(SHARDS[1]!).length).toBeGreaterThan(1)
  })

  test('that is resumed requests only the rest', async () => {
    fault(SHARDS[0]!, { kind: 'drop', after: 40_000 })
    await pulled()
    const [first, second] = downloads(SHARDS[0]!)
    expect(first).toBe(SHARDS[0])
    expect(Number(/ (\d+)-$/.exec(second!)![1])).toBeGreaterThan(0)
  })

  test('that never brings anything new ends in an error, not in a loop', async () => {
    fault(SHARDS[0]!, ...Array.from({ length: 50 }, () => ({ kind: 'no ranges', after: 10_000 }) as const))
    await expect(pulled()).rejects.toMatchObject({ code: 'hub_unreachable' })
    expect(downloads(SHARDS[0]!).length).toBeLessThan(10)
  })

  test('that is refused is an error', async () => {
    hub = { ...hub, endpoint: 'http://127.0.0.1:9' }
    await expect(pulled()).rejects.toMatchObject({ code: 'hub_unreachable' })
  })
})

describe('a model that answers with nothing', () => {
  beforeEach(async () => {
    const config = await configWith({})
    const checkpoint = await makeCheckpoint(config, silentTensors(config))
    await double.close()
    double = await startDouble(checkpoint)
    hub = { ...hub, endpoint: double.endpoint }
    await rm(checkpoint, { recursive: true })
  })

  test('is refused, and accepted with --no-trial without another download', async () => {
    await expect(pulled({ trial: undefined })).rejects.toThrow('or --no-trial to accept it')
    expect(await readdir(room)).toEqual(['out.download'])
    double.asked.length = 0
    expect((await pulled()).trial).toBeUndefined()
    expect(downloads('model.safetensors')).toEqual([])
  })

  test('is taken as it is at fp32, or where the files that are kept say no more', async () => {
    expect((await pulled({ trial: undefined, precision: 'fp32' })).trial?.texts).toEqual(['', ''])
    const keep = join(room, 'kept')
    expect((await pulled({ trial: undefined, keep })).trial?.texts).toEqual(['', ''])
  })
})

describe('a signed link', () => {
  const refused = { kind: 'status', status: 403 } as const
  test('that has expired is replaced by a new one', async () => {
    fault(SHARDS[1]!, refused)
    await pulled()
    await expectWhole()
  })

  test('that is refused every time is an error about the host, not about the token', async () => {
    fault(SHARDS[1]!, ...Array.from({ length: 6 }, () => refused))
    await expect(pulled()).rejects.toThrow("refused the hub's link (403)")
  })
})

test('a mirror without checksums is named as the cause', async () => {
  double.lacksChecksums = true
  await expect(pulled()).rejects.toThrow('does not give the size and checksum of config.json')
})

describe('what arrives', () => {
  test('with a wrong checksum is fetched once more', async () => {
    fault(SHARDS[2]!, { kind: 'wrong bytes' })
    await pulled()
    await expectWhole()
    expect(downloads(SHARDS[2]!)).toHaveLength(2)
  })

  test.each([SHARDS[1]!, 'merges.txt', 'config.json'])('wrong twice is an error: %s', async (file) => {
    fault(file, { kind: 'wrong bytes' }, { kind: 'wrong bytes' })
    await expect(pulled()).rejects.toMatchObject({
      code: 'bad_checksum',
      message: expect.stringContaining(file),
    })
    expect(await readdir(room)).not.toContain('out')
  })

  test.each<Fault>([{ kind: 'more' }, { kind: 'html' }])('is not the file: $kind', async (wrong) => {
    fault(SHARDS[0]!, ...Array.from({ length: 20 }, () => wrong))
    await expect(pulled()).rejects.toMatchObject({ kind: 'upstream' })
    expect(await readdir(room)).not.toContain('out')
  })
})

describe('a later run', () => {
  test('after a failure resumes: built files are not fetched again, and a partial file is completed', async () => {
    fault(
      SHARDS[2]!,
      { kind: 'drop', after: 50_000 },
      ...Array.from({ length: 5 }, () => ({ kind: 'status', status: 500 }) as const),
    )
    await expect(pulled()).rejects.toMatchObject({ code: 'hub_unreachable' })
    expect(await readdir(room)).toEqual(['out.download'])
    double.asked.length = 0
    await pulled()
    await expectWhole()
    expect(downloads(SHARDS[0]!)).toEqual([])
    expect(downloads(SHARDS[2]!)).toEqual([expect.stringMatching(/ [1-9]\d*-$/)])
  })

  test('after the process was killed resumes', async () => {
    fault(SHARDS[1]!, { kind: 'stall', after: 12_000 })
    const args = ['pull', REPOSITORY, '--out', out, '--endpoint', double.endpoint]
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'ignore' })
    const part = join(`${out}.download`, COMMIT, `${SHARDS[1]}.part`)
    await until(async () => ((await stat(part).catch(() => undefined))?.size ?? 0) > 0)
    child.kill('SIGKILL')
    await new Promise((resolve) => child.once('exit', resolve))
    double.asked.length = 0
    await pulled()
    await expectWhole()
    expect(downloads(SHARDS[1]!)).toEqual([expect.stringMatching(/ [1-9]\d*-$/)])
  })

  test('of another precision uses what was fetched, not what was built', async () => {
    fault(SHARDS[2]!, ...Array.from({ length: 6 }, () => ({ kind: 'status', status: 500 }) as const))
    await expect(pulled({ precision: 'fp32' })).rejects.toMatchObject({ code: 'hub_unreachable' })
    await pulled()
    await expectWhole()
  })

  test('finds damage in what an earlier one left', async () => {
    const keep = join(room, 'kept')
    await mkdir(keep)
    const bytes = Buffer.from(double.files.get(SHARDS[0]!)!)
    bytes[bytes.length - 1]! ^= 1
    await writeFile(join(keep, SHARDS[0]!), bytes)
    await pulled({ keep })
    expect(await readFile(join(keep, SHARDS[0]!))).toEqual(double.files.get(SHARDS[0]!))
  })
})

test('an interrupt ends it at once and says how to resume', async () => {
  const stop = new AbortController()
  hub = { ...hub, signal: stop.signal }
  fault(SHARDS[1]!, { kind: 'stall', after: 10_000 })
  const interrupted = expect(pulled()).rejects.toMatchObject({
    code: 'cancelled',
    message: expect.stringContaining('Run the same command again to resume'),
  })
  await until(() => downloads(SHARDS[1]!).length > 0)
  stop.abort()
  await interrupted
  hub = { ...hub, signal: undefined }
  await pulled()
  await expectWhole()
})

describe('the token', () => {
  test('goes to the hub, and not to the host that files come from', async () => {
    hub = { ...hub, token: 'hf_secret' }
    await pulled()
    expect(new Set(double.tokens.hub)).toEqual(new Set(['Bearer hf_secret']))
    expect(double.tokens.store.length).toBeGreaterThan(0)
    expect(new Set(double.tokens.store)).toEqual(new Set([undefined]))
  })

  test.each([401, 403])('that is missing or of no use is asked for: %i', async (status) => {
    double.api = { status, body: '' }
    await expect(pulled()).rejects.toThrow('set HF_TOKEN')
    hub = { ...hub, token: 'hf_secret' }
    const error = await pulled().catch((thrown: Error) => thrown)
    expect(String(error)).toContain('The token has no access')
    expect(String(error)).not.toContain('hf_secret')
  })
})

describe('nothing large is fetched for', () => {
  const edit = (file: string, change: (text: string) => string) =>
    double.files.set(file, Buffer.from(change(double.files.get(file)!.toString())))
  test.each<[string, () => void, string]>([
    [
      'another architecture',
      () => edit('config.json', (text) => text.replace('"blip-2"', '"llava"')),
      'unknown_architecture',
    ],
    [
      'weights of another size',
      () => edit('config.json', (text) => text.replace(/"ffn_dim": \d+/, '"ffn_dim": 40')),
      'wrong_tensors',
    ],
    ['no configuration', () => double.files.delete('config.json'), 'not_a_checkpoint'],
    ['an index that names what is not there', () => double.files.delete(SHARDS[1]!), 'no_weights'],
    [
      'only .bin files',
      () => {
        for (const name of [...SHARDS, 'model.safetensors.index.json']) double.files.delete(name)
        double.files.set('pytorch_model.bin', Buffer.alloc(10))
      },
      'no_weights',
    ],
    [
      'an index that leads out of the folder',
      () => edit('model.safetensors.index.json', (text) => text.replaceAll('model-', '../model-')),
      'bad_weights',
    ],
    [
      'an answer that is a page',
      () => {
        double.api = { status: 200, body: '<html>' }
      },
      'bad_answer',
    ],
    [
      'a repository that is not there',
      () => {
        double.api = { status: 404, body: '' }
      },
      'not_on_hub',
    ],
  ])('%s', async (_, change, code) => {
    change()
    await expect(pulled()).rejects.toMatchObject({ code })
    expect(SHARDS.flatMap(downloads)).toEqual([])
    expect(await readdir(room)).not.toContain('out')
  })

  test.each(['blip2', '../etc/passwd', 'a/b/c', 'owner/..', 'owner/na me'])('the name %s', async (name) => {
    await expect(pulled({}, name)).rejects.toMatchObject({ code: 'bad_name' })
    expect(double.asked).toEqual([])
  })
})

// Two checkpoints in one artifact: it does what each does alone, and a picture goes through the vision tower once for both.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { VISION } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { type RequestResult, runBatch } from '../../src/engine/pipeline.ts'
import type { BaseRequest } from '../../src/engine/request.ts'
import { stageCaches } from '../../src/engine/stage-cache.ts'
import type { MatchResult } from '../../src/engine/tasks/match.ts'
import { sha256Hex } from '../../src/hash.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { FIXTURES } from '../fixtures.ts'
import {
  configWith,
  makeCheckpoint,
  PLAIN,
  type RawTensor,
  randomTensors,
  safetensors,
} from '../make-checkpoint.ts'
import { relativeError } from '../tensors.ts'

const SAME = 1e-4
const TOWER = 'vision_model.'
const NORM = `${TOWER}post_layernorm.`
const ITM = join(FIXTURES, 'checkpoints/itm')
let room: string
let main: string
let tower: RawTensor[]
/** Of the checkpoint that matches, with a tower of its own. */
let config: Record<string, unknown>
let own: RawTensor[]
let image: Uint8Array
let generating: Model

beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  image = await readFile(join(FIXTURES, 'references/disc-40x30.png'))
  const mainConfig = await configWith({})
  main = await makeCheckpoint(mainConfig)
  tower = randomTensors(mainConfig).filter(({ name }) => name.startsWith(TOWER))
  const itm = JSON.parse(await readFile(join(ITM, 'config.json'), 'utf8'))
  config = { ...itm, vision_config: mainConfig['vision_config'] }
  own = randomTensors(config, 2)
  generating = await built(main, 'main')
})
afterAll(async () => {
  await generating.close()
  await rm(room, { recursive: true })
  await rm(main, { recursive: true })
})

/** A checkpoint that matches, with these tensors. */
async function matcher(name: string, tensors: readonly RawTensor[], words?: object): Promise<string> {
  const folder = join(room, name)
  await cp(ITM, folder, { recursive: true })
  await cp(join(PLAIN, 'preprocessor_config.json'), join(folder, 'preprocessor_config.json'))
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  await writeFile(join(folder, 'model.safetensors'), safetensors(tensors))
  if (words) await writeFile(join(folder, 'words.json'), JSON.stringify(words))
  return folder
}

const withoutTower = () => own.filter(({ name }) => !name.startsWith(TOWER))
const withTower = (isOwn: (name: string) => boolean) => [
  ...withoutTower(),
  ...tower.map((tensor) => (isOwn(tensor.name) ? own.find(({ name }) => name === tensor.name)! : tensor)),
]

const built = async (checkpoint: string, name: string, matching?: string) => {
  const folder = join(room, `artifact-${name}`)
  await buildArtifact(checkpoint, folder, { precision: 'fp32', trial: false, matching })
  return await openModel(folder, { threads: 1 })
}

/** The outcomes of requests one after another, with the same caches, and the graphs that ran. */
async function outcomes(model: Model, requests: readonly (BaseRequest & { texts?: string[] })[]) {
  const caches = stageCaches(model.manifest)
  const runs: string[] = []
  const sessions = Object.fromEntries(
    Object.entries(model.sessions).map(([name, session]) => [
      name,
      {
        ...session,
        run(...run: Parameters<typeof session.run>) {
          runs.push(name)
          return session.run(...run)
        },
      },
    ]),
  )
  const found: (BaseRequest & MatchResult)[] = []
  for (const request of requests) {
    const take = (_: number, outcome: RequestResult) => {
      if ('error' in outcome) throw outcome.error
      found.push(outcome.reply as unknown as BaseRequest & MatchResult)
    }
    await runBatch({ ...model, sessions }, caches, [{ request, hooks: { check() {} } }], take)
  }
  return { found, runs }
}

describe.each([
  ['without a tower', () => withoutTower(), () => false],
  ['with the same tower', () => withTower(() => false), () => false],
  [
    'with another last norm',
    () => withTower((name) => name.startsWith(NORM)),
    (name: string) => name.startsWith(NORM),
  ],
] as [string, () => RawTensor[], (name: string) => boolean][])('a checkpoint %s', (label, tensors, isOwn) => {
  let both: Model
  let matching: Model
  beforeAll(async () => {
    const name = label.replaceAll(' ', '-')
    both = await built(main, name, await matcher(name, tensors(), { rerank: true, sees: 'x' }))
    matching = await built(await matcher(`${name}-whole`, withTower(isOwn)), `${name}-alone`)
  })
  afterAll(async () => {
    for (const model of [both, matching]) await model.close()
  })
  const match = { task: 'match', texts: ['a cat', 'a dog on the table'] }

  test('does what each does alone, and runs the tower once', async () => {
    const picture = sha256Hex(image)
    const { found, runs } = await outcomes(both, [{ image }, { picture, ...match }, { picture }])
    expect(runs.filter((name) => name === VISION.graph)).toHaveLength(1)
    const [caption] = (await outcomes(generating, [{ image }])).found
    const [matched] = (await outcomes(matching, [{ image, ...match }])).found
    expect(found[0]).toMatchObject({ token_ids: (caption as unknown as { token_ids: number[] }).token_ids })
    const numbers = ({ matches }: MatchResult) =>
      matches.flatMap(({ logits, contrastive }) => [...logits!, contrastive])
    expect(relativeError(numbers(found[1]!), numbers(matched!))).toBeLessThan(SAME)
    // The other way round: what matching reads is there for a caption too.
    expect(
      (await outcomes(both, [{ image, ...match }, { picture }])).runs.filter((one) => one === VISION.graph),
    ).toEqual([VISION.graph])
  })

  test('its manifest has the tasks and words of both, and one tower', () => {
    const { manifest } = both
    expect(manifest.tasks).toEqual(['caption', 'answer', 'features', 'match'])
    expect(manifest.about).toEqual({ rerank: true, sees: 'x' })
    expect(manifest.source.matching!.checkpoint).toBe(label.replaceAll(' ', '-'))
    expect(manifest.graphs.map(({ name }) => name)).toEqual([
      'vision',
      'matching',
      'text',
      'queries',
      'language',
    ])
    const hasTwo = manifest.graphs[0]!.outputs.some(({ name }) => name === VISION.matching)
    expect(hasTwo).toBe(label.endsWith('norm'))
    expect(both.tokenizer.encode('a cat')).toEqual(generating.tokenizer.encode('a cat'))
    expect(both.matchingTokenizer!.encode('a cat')).toEqual(matching.matchingTokenizer!.encode('a cat'))
  })
})

test('a tower in another number format is the same if its values are', async () => {
  // Values that float16 holds: 1 and 0.
  const half = (tensor: RawTensor): RawTensor => {
    const values = new Float32Array(tensor.bytes.slice().buffer)
    const isOne = (value: number) => value > 0.05
    const bits = Uint16Array.from(values, (value) => (isOne(value) ? 0x3c00 : 0))
    return { ...tensor, dtype: 'F16', bytes: new Uint8Array(bits.buffer) }
  }
  const rounded = (tensor: RawTensor): RawTensor => {
    const values = new Float32Array(tensor.bytes.slice().buffer).map((value) => Number(value > 0.05))
    return { ...tensor, bytes: new Uint8Array(values.buffer) }
  }
  const mainConfig = await configWith({})
  const others = randomTensors(mainConfig).filter(({ name }) => !name.startsWith(TOWER))
  const simple = await makeCheckpoint(mainConfig, [...others, ...tower.map(rounded)])
  const folder = await matcher('half', [...withoutTower(), ...tower.map(half)])
  const model = await built(simple, 'half', folder)
  expect(model.manifest.tasks).toContain('match')
  await model.close()
  await rm(simple, { recursive: true })
})

describe('is refused:', () => {
  const refusal = async (checkpoint: string, matching: string) =>
    await buildArtifact(checkpoint, join(room, 'refused'), {
      precision: 'fp32',
      trial: false,
      matching,
    }).catch(({ code, message }: { code: string; message: string }) => `${code}: ${message}`)

  test('a tower that differs, with the tensor that does', async () => {
    const layer = `${TOWER}encoder.layers.0.mlp.fc1.weight`
    const folder = await matcher(
      'other-tower',
      withTower((name) => name === layer),
    )
    expect(await refusal(main, folder)).toMatch(
      new RegExp(`^cannot_join: .*vision towers differ \\(${layer}\\)`),
    )
  })

  test('other sizes of the tower, another preprocessor', async () => {
    const folder = await matcher('other-pixels', withoutTower())
    const file = join(folder, 'preprocessor_config.json')
    const json = JSON.parse(await readFile(file, 'utf8'))
    await writeFile(file, JSON.stringify({ ...json, image_mean: [0.5, 0.5, 0.5] }))
    expect(await refusal(main, folder)).toMatch(/^cannot_join: .*how they resize pictures, differs/)
  })

  test('two that generate, two that match, and the two in the wrong order', async () => {
    const folder = await matcher(
      'second',
      withTower(() => false),
    )
    for (const [one, other] of [
      [main, main],
      [folder, folder],
      [folder, main],
    ])
      expect(await refusal(one!, other!)).toMatch(/^cannot_join: .*expected one that generates/)
  })
})

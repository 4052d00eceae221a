// A checkpoint's folder -> an artifact: what is in it, and that a build that fails leaves nothing behind.

import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openArtifact, verifyFiles } from '../../src/artifact/open.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { ArtifactError, isGlimpseError, SetupError } from '../../src/errors.ts'
import { PRECISIONS } from '../../src/quantize/recipes.ts'
import { findNonTokenIds, openModel } from '../../src/run/model.ts'
import {
  configWith,
  makeCheckpoint,
  PLAIN,
  type RawTensor,
  randomTensors,
  safetensors,
} from '../make-checkpoint.ts'

const config = await configWith({})
const tensors = randomTensors(config)

let room: string
let checkpoint: string
let out: string
beforeEach(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  out = join(room, 'out')
  checkpoint = await makeCheckpoint(config, tensors)
})
afterEach(async () => {
  await rm(room, { recursive: true })
  await rm(checkpoint, { recursive: true })
})

const build = (to = out) => buildArtifact(checkpoint, to, { precision: 'int8' })
const put = (file: string, content: string | Uint8Array) => writeFile(join(checkpoint, file), content)

/** Ordinary ones behind `<image>`, which is 296; the table has 320 rows. */
async function addTokens(count: number): Promise<void> {
  const path = 'tokenizer_config.json'
  const settings = JSON.parse(await readFile(join(checkpoint, path), 'utf8'))
  for (let i = 1; i <= count; i++) {
    settings.added_tokens_decoder[296 + i] = { content: `<loc_${i}>`, special: false }
  }
  await put(path, JSON.stringify(settings))
}

async function errorOf(building: Promise<unknown>): Promise<ArtifactError | SetupError> {
  const error = await building.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(isGlimpseError(error), String(error)).toBe(true)
  return error as ArtifactError | SetupError
}

async function contentsOf(folder: string): Promise<[string, string][]> {
  const names = (await readdir(folder)).sort()
  return Promise.all(
    names.map(async (name) => [name, (await readFile(join(folder, name))).toString('base64')]),
  )
}

describe('an artifact', () => {
  test.each(PRECISIONS)('%s is what its manifest says', async (precision) => {
    const manifest = await buildArtifact(PLAIN, out, { precision })
    expect(await openArtifact(out)).toEqual(manifest)
    await verifyFiles(out, manifest)
    expect((await readdir(out)).sort()).toEqual(
      ['manifest.json', ...manifest.files.map(({ path }) => path)].sort(),
    )
    const configText = await readFile(join(PLAIN, 'config.json'))
    expect(manifest.source).toEqual({
      checkpoint: 'plain',
      config_sha256: createHash('sha256').update(configText).digest('hex'),
      weight_bytes: (await readFile(join(PLAIN, 'model.safetensors'))).length,
    })
    expect(manifest.architecture).toBe('blip2-opt')
    expect(manifest.tasks).toEqual(['caption', 'answer', 'features'])
    expect(manifest.vision).toEqual({ image: [28, 28], patches: 17, width: 24 })
    expect(manifest.queries).toEqual({
      count: 5,
      width: 24,
      reads_text: false,
      text: null,
    })
    expect(manifest.language).toEqual({
      kind: 'decoder',
      width: 24,
      vocabulary: 320,
      layers: 2,
      heads: 3,
      head_size: 8,
      positions: 160,
      bos_token_id: 2,
      pad_token_id: 1,
      eos_token_id: [202],
      image_token_id: 296,
    })
    expect(manifest.precision).toBe(precision)
  })

  test('built twice is the same bytes, also over the first', async () => {
    await build()
    const first = await contentsOf(out)
    await build(join(room, 'again'))
    expect(await contentsOf(join(room, 'again'))).toEqual(first)
    await build()
    expect(await contentsOf(out)).toEqual(first)
    expect((await readdir(room)).sort()).toEqual(['again', 'out'])
  })

  test('reports every byte of weights it writes', async () => {
    const seen: { doneBytes: number; totalBytes: number }[] = []
    await buildArtifact(checkpoint, out, { precision: 'int4', onProgress: (progress) => seen.push(progress) })
    expect(seen.at(-1)!.doneBytes).toBe(seen.at(-1)!.totalBytes)
  })

  test('carries the name given, and what words.json says', async () => {
    await put('words.json', '{"sees": "crabs"}')
    const manifest = await buildArtifact(checkpoint, out, { precision: 'fp32', name: 'mine' })
    expect(manifest).toMatchObject({ name: 'mine', about: { sees: 'crabs' } })
    expect(manifest).toMatchObject({ prompt: { turns: null }, unknown: [] })
  })

  test('says how many turns the model takes, and by which texts it does not know, as words.json does', async () => {
    await put(
      'words.json',
      '{"sees": "crabs", "turns": 1, "unknown_caption": "Something", "unknown_answer": 7}',
    )
    const manifest = await buildArtifact(checkpoint, out, { precision: 'fp32', name: 'mine' })
    expect(manifest).toMatchObject({ prompt: { turns: 1 }, unknown: ['something'] })
  })

  test('without tokenizer.json holds the older files', async () => {
    await rm(join(checkpoint, 'tokenizer.json'))
    await build()
    expect(await readdir(out)).toEqual(
      expect.arrayContaining(['vocab.json', 'merges.txt', 'added_tokens.json']),
    )
  })

  test('an ordinary added token may be generated, padding and the placeholder may not', async () => {
    await addTokens(1)
    await build()
    const model = await openModel(out, { threads: 1 })
    await model.close()
    const unreal = findNonTokenIds(model.language!, model.tokenizer)
    expect(model.nonTokenIds).toEqual(unreal)
    expect(unreal).toEqual(Array.from({ length: 320 }, (_, id) => id).filter((id) => id >= 296 && id !== 297))
  })

  test('two builds of one artifact at the same time both end well', async () => {
    await Promise.all([build(), build(), build()])
    await verifyFiles(out, await openArtifact(out))
    expect(await readdir(room)).toEqual(['out'])
  })
})

describe('a head under a name of its own', () => {
  const EMBED = 'language_model.model.decoder.embed_tokens.weight'
  const table = tensors.find(({ name }) => name === EMBED)!
  const built = async (head: Uint8Array) => {
    const both = [...tensors, { ...table, name: 'language_model.lm_head.weight', bytes: head }]
    await put('model.safetensors', safetensors(both))
    const manifest = await buildArtifact(checkpoint, out, { precision: 'fp32' })
    return manifest.files.find(({ path }) => path === 'language.data')!.sizeBytes
  }

  test('is stored once where it is the table of words, and kept where one value differs', async () => {
    const once = await built(table.bytes)
    const other = Uint8Array.from(table.bytes)
    other[other.length - 3]! ^= 1
    expect(await built(other)).toBeGreaterThanOrEqual(once + table.bytes.length)
  })
})

describe('weights', () => {
  const contents = async () => {
    const { files } = await buildArtifact(checkpoint, out, { precision: 'fp32', trial: false })
    return files.map(({ sha256 }) => sha256)
  }
  const doubled = (list: RawTensor[]) =>
    list.map((tensor) => {
      const bytes = new Uint8Array(Float64Array.from(new Float32Array(tensor.bytes.slice().buffer)).buffer)
      return { ...tensor, dtype: 'F64', bytes }
    })

  test('in float64 make the artifact that the same in float32 make', async () => {
    const before = await contents()
    await put('model.safetensors', safetensors(doubled(tensors)))
    expect(await contents()).toEqual(before)
  })

  test('in model.safetensors are taken, and not those of old shards and their index', async () => {
    const before = await contents()
    const name = 'model-00001-of-00001.safetensors'
    await put(name, safetensors(randomTensors(config, 2)))
    const weight_map = Object.fromEntries(tensors.map((tensor) => [tensor.name, name]))
    await put('model.safetensors.index.json', JSON.stringify({ metadata: {}, weight_map }))
    expect(await contents()).toEqual(before)
  })

  test('may have positions beside them, and are named where they are integers or 8-bit floats', async () => {
    const positions = {
      name: 'qformer.embeddings.position_ids',
      dtype: 'I64',
      shape: [1],
      bytes: new Uint8Array(8),
    }
    await put('model.safetensors', safetensors([...tensors, positions]))
    await contents()
    for (const dtype of ['F8_E4M3', 'I8']) {
      const [first, ...rest] = tensors
      const bytes = first!.bytes.subarray(0, first!.bytes.length / 4)
      await put('model.safetensors', safetensors([{ ...first!, dtype, bytes }, ...rest]))
      expect((await errorOf(build())).message).toContain(`${first!.name} is ${dtype}, expected F64, F32, F16`)
    }
  })
})

describe('a checkpoint is rejected, and nothing is left, with', () => {
  const edit = (name: string, change: object) =>
    safetensors(tensors.map((tensor) => (tensor.name.endsWith(name) ? { ...tensor, ...change } : tensor)))

  test.each<[string, () => unknown, string]>([
    ['no config', () => rm(join(checkpoint, 'config.json')), 'no_checkpoint'],
    ['a config that is no JSON', () => put('config.json', '{"text_config": NaN}'), 'unreadable_file'],
    ['a config that is a list', () => put('config.json', '[]'), 'bad_config'],
    ['a picture rule that is a list', () => put('preprocessor_config.json', '[]'), 'bad_preprocessor_config'],
    ['a picture rule cut off', () => put('preprocessor_config.json', '{"si'), 'unreadable_file'],
    ['a picture rule of another size', () => put('preprocessor_config.json', '{"size": 14}'), 'bad_config'],
    [
      'pictures left as they are',
      () => put('preprocessor_config.json', '{"size": 28, "do_resize": false}'),
      'bad_config',
    ],
    ['words.json that is a list', () => put('words.json', '[]'), 'bad_config'],
    ['a tokenizer that is a list', () => put('tokenizer.json', '[]'), 'bad_tokenizer'],
    [
      'a vocabulary smaller than the tokenizer',
      async () =>
        put(
          'config.json',
          JSON.stringify(await configWith({ text_config: { vocab_size: 290 }, image_token_index: null })),
        ),
      'bad_tokenizer',
    ],
    ['more added tokens than the vocabulary has rows', () => addTokens(24), 'bad_tokenizer'],
    [
      'weights cut off',
      () => put('model.safetensors', safetensors(tensors).subarray(0, 100_000)),
      'bad_weights',
    ],
    [
      'a NaN in the last graph',
      () =>
        put(
          'model.safetensors',
          edit('decoder.final_layer_norm.bias', { bytes: new Uint8Array(96).fill(255) }),
        ),
      'bad_weights',
    ],
  ])('%s', async (_, spoil, code) => {
    await build()
    const before = await contentsOf(out)
    await spoil()
    const error = await errorOf(build())
    expect(error).toBeInstanceOf(ArtifactError)
    expect(error.code).toBe(code)
    expect(await contentsOf(out)).toEqual(before)
    await errorOf(build(join(room, 'new')))
    expect(await readdir(room)).toEqual(['out'])
  })

  test('no picture rule, unless processor_config.json holds it', async () => {
    const rule = await readFile(join(checkpoint, 'preprocessor_config.json'), 'utf8')
    await rm(join(checkpoint, 'preprocessor_config.json'))
    expect((await errorOf(build())).code).toBe('no_preprocessor')
    await put('processor_config.json', '[]')
    expect((await errorOf(build())).code).toBe('no_preprocessor')
    await put('processor_config.json', `{"image_processor": ${rule}}`)
    expect((await build()).preprocessor).toEqual(JSON.parse(rule))
    await put('preprocessor_config.json', '{"size": 14}')
    expect((await build()).preprocessor).toEqual(JSON.parse(rule))
  })
})

describe('a destination', () => {
  test.each<[string, () => Promise<string>]>([
    ['the checkpoint itself', async () => checkpoint],
    [
      'the checkpoint, though a manifest.json lies there',
      async () => {
        await put('manifest.json', '{}')
        return checkpoint
      },
    ],
    ['a file', async () => join(checkpoint, 'config.json')],
    [
      'a folder of other things',
      async () => {
        await mkdir(join(room, 'photos'))
        return room
      },
    ],
    [
      'an artifact with other things beside',
      async () => {
        await build()
        await writeFile(join(out, 'diary.txt'), 'dear')
        return out
      },
    ],
    [
      'a folder with the checkpoint and a manifest',
      async () => {
        await mkdir(join(room, 'sub'))
        await writeFile(join(room, 'manifest.json'), '{}')
        return room
      },
    ],
  ])('that is %s is refused and stays as it is', async (_, make) => {
    const to = await make()
    const before = (await readdir(checkpoint)).sort()
    const error = await errorOf(build(to))
    expect(error).toBeInstanceOf(SetupError)
    expect(error.code).toBe('destination_taken')
    expect((await readdir(checkpoint)).sort()).toEqual(before)
  })

  test.each<[string, () => string]>([
    ['below a file', () => join(checkpoint, 'config.json/out')],
    ['where nothing can be written', () => '/proc/out'],
    ['below where nothing can be written', () => '/proc/out/of/reach'],
    ['with too long a name', () => join(room, 'x'.repeat(300))],
    ['with a NUL in its name', () => join(room, 'a\0b')],
  ])('%s is refused in time', async (_, to) => {
    const error = await errorOf(build(to()))
    expect(error).toBeInstanceOf(SetupError)
    expect(error.code).toBe('disk_refused')
  })

  test('may be new, empty, deep, inside the checkpoint, or an artifact with a damaged manifest', async () => {
    await mkdir(out)
    await build()
    await build(join(room, 'a/b/c'))
    await build(join(checkpoint, 'int8'))
    await writeFile(join(out, 'manifest.json'), '{')
    await build()
    for (const folder of [out, join(room, 'a/b/c'), join(checkpoint, 'int8')]) await openArtifact(folder)
  })

  test('that is a link is replaced where it points to', async () => {
    await build()
    const link = join(room, 'link')
    await symlink(out, link)
    await buildArtifact(checkpoint, link, { precision: 'fp32' })
    expect((await openArtifact(out)).precision).toBe('fp32')
    expect((await readdir(room)).sort()).toEqual(['link', 'out'])
  })

  test('gives the artifact its name only by the checkpoint’s folder', async () => {
    expect((await build()).name).toBe(basename(checkpoint))
    expect((await errorOf(buildArtifact(checkpoint, out, { precision: 'int8', name: '' }))).code).toBe(
      'no_name',
    )
  })
})

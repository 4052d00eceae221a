// What a model for matching keeps to, on its fixture checkpoints at every precision: texts together equal each alone, each
// precision is within its bound, all equals transformers, and what is easily taken for something else.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MATCHING, TEXT } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { TOLERANCE } from '../../src/cli/verify.ts'
import { AS_TRANSFORMERS, decode } from '../../src/image/decode.ts'
import { toPixels } from '../../src/image/pixels.ts'
import type { Precision, Target } from '../../src/quantize/recipes.ts'
import { contrastiveScore, runImageEmbeds, runMatching, runTexts } from '../../src/run/matching.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { concatRows, Tensor } from '../../src/run/tensor.ts'
import { runVision } from '../../src/run/vision.ts'
import { readReference } from '../../src/verify/reference.ts'
import { compare, holds } from '../../src/verify/verify.ts'
import { FIXTURES } from '../fixtures.ts'
import { relativeError } from '../tensors.ts'

const REFERENCES = join(FIXTURES, 'references')
const PICTURES = ['disc-40x30.png', 'triangle-33x57.png']
const TEXTS = ['a cat on the table', 'a dog', '', 'what color is the car? it is red and white']
const VARIANTS: Readonly<Record<string, { precision: Precision; target?: Target }>> = {
  fp32: { precision: 'fp32' },
  int8: { precision: 'int8' },
  'int8 for a GPU': { precision: 'int8', target: 'gpu' },
}
/** float32 sums in another order differ by about 1e-6; a wiring mistake by more than 1e-2. */
const SAME = 1e-4
/** A difference of 1e-6 before 8-bit rounding can become one step of a block. */
const SAME_ROUNDED = 0.02
/** How often the bound of verify: a sum of 24 products averages out less rounding than one of 1,000. */
const SMALL_WIDTHS = 2

describe.each(['itm', 'itm-odd'])('%s', (checkpoint) => {
  let room: string
  const models: Record<string, Model> = {}
  beforeAll(async () => {
    room = await mkdtemp(join(tmpdir(), 'glimpse-'))
    for (const [variant, options] of Object.entries(VARIANTS)) {
      const folder = join(room, variant)
      await buildArtifact(join(FIXTURES, 'checkpoints', checkpoint), folder, { ...options, trial: false })
      models[variant] = await openModel(folder, { threads: 1 })
    }
  })
  afterAll(async () => {
    for (const model of Object.values(models)) await model.close()
    await rm(room, { recursive: true })
  })

  async function visionOf(model: Model, picture: string): Promise<Tensor> {
    const rgb = await decode(await readFile(join(REFERENCES, picture)), AS_TRANSFORMERS)
    const { data, dims } = toPixels(rgb, model.preprocessorConfig)
    return await runVision(model.sessions['vision']!, Tensor.float32(data, dims))
  }
  const idsOf = (model: Model, texts: readonly string[]) =>
    texts.map((text) => model.matchingTokenizer!.encode(text))
  const both = (model: Model, vision: Tensor, texts: readonly string[]) =>
    runMatching(model.sessions[MATCHING.graph]!, vision, idsOf(model, texts), [
      MATCHING.itm_logits,
      MATCHING.query_hidden,
    ])
  const alone = (model: Model, vision: Tensor) =>
    runImageEmbeds(model.sessions[MATCHING.graph]!, vision, [MATCHING.image_embeds, MATCHING.query_hidden])
  const floats = async (tensor: Tensor | undefined) => await tensor!.floats()

  test('every stage equals transformers at fp32', async () => {
    const folder = join(REFERENCES, checkpoint)
    const references = await Promise.all(
      (await readdir(folder)).map((file) => readReference(join(folder, file))),
    )
    const { stages, missingPictures } = await compare(models['fp32']!, references, () => REFERENCES)
    expect(missingPictures).toEqual([])
    const filesOf = Object.fromEntries(stages.map(({ stage, files }) => [stage, files]))
    // The matrix is one file more.
    expect(filesOf).toEqual({
      ...Object.fromEntries(
        ['pixel_values', 'vision', 'queries', 'text_ids', 'text_hidden', 'multimodal'].map((s) => [s, 3]),
      ),
      ...{ itm_logits: 4, itc: 4, image_embeds: 3, text_embeds: 3, text_embeds_all: 3 },
    })
    for (const stage of stages) expect(holds(stage, SAME, 'fp32'), JSON.stringify(stage)).toBe(true)
  })

  test.each(Object.keys(VARIANTS))(
    'many texts about one picture have the logits of each alone: %s',
    async (name) => {
      const model = models[name]!
      for (const picture of PICTURES) {
        const vision = await visionOf(model, picture)
        const together = await both(model, vision, TEXTS)
        const logits = await floats(together[MATCHING.itm_logits])
        const hidden = await floats(together[MATCHING.query_hidden])
        for (const [i, text] of TEXTS.entries()) {
          const one = await both(model, vision, [text])
          const tolerance = name === 'fp32' ? SAME : SAME_ROUNDED
          const own = await floats(one[MATCHING.itm_logits])
          expect(relativeError(logits.slice(2 * i, 2 * i + 2), own)).toBeLessThan(tolerance)
          const size = hidden.length / TEXTS.length
          const row = hidden.slice(i * size, (i + 1) * size)
          expect(relativeError(row, await floats(one[MATCHING.query_hidden]))).toBeLessThan(tolerance)
        }
        // The texts matter.
        expect(new Set([...logits].map((value) => value.toFixed(3))).size).toBeGreaterThan(TEXTS.length)
      }
    },
  )

  test('several pictures with as many texts each: a text is read beside its own picture', async () => {
    const model = models['fp32']!
    const visions = await Promise.all(PICTURES.map((picture) => visionOf(model, picture)))
    const pairs = PICTURES.flatMap(() => TEXTS.slice(0, 2))
    const logits = await floats((await both(model, await concatRows(visions), pairs))[MATCHING.itm_logits])
    for (const [i, vision] of visions.entries()) {
      const own = await floats((await both(model, vision, TEXTS.slice(0, 2)))[MATCHING.itm_logits])
      expect(relativeError(logits.slice(4 * i, 4 * i + 4), own)).toBeLessThan(SAME)
    }
  })

  test('int8 stays within its bound', async () => {
    for (const name of ['int8', 'int8 for a GPU']) {
      const [exact, found]: number[][] = [[], []]
      for (const picture of PICTURES) {
        for (const [model, values] of [
          [models['fp32']!, exact!],
          [models[name]!, found!],
        ] as const) {
          const vision = await visionOf(model, picture)
          values.push(...(await floats((await both(model, vision, TEXTS))[MATCHING.query_hidden])))
          values.push(...(await floats((await alone(model, vision))[MATCHING.image_embeds])))
        }
      }
      const error = relativeError(found!, exact!)
      expect(error, name).toBeLessThan(SMALL_WIDTHS * TOLERANCE.int8)
      expect(error, name).toBeGreaterThan(SAME)
    }
  })

  test('image embeds are of the picture alone, and differ from those beside a text', async () => {
    const model = models['fp32']!
    const vision = await visionOf(model, PICTURES[0]!)
    const picture = await floats((await alone(model, vision))[MATCHING.query_hidden])
    const beside = await floats((await both(model, vision, ['a dog']))[MATCHING.query_hidden])
    expect(relativeError(beside, picture)).toBeGreaterThan(0.01)
  })

  test('every embed has the length 1; a text is compared by its first', async () => {
    const model = models['fp32']!
    const vision = await visionOf(model, PICTURES[0]!)
    const width = model.manifest.matching!.embedding_width
    const image = await floats((await alone(model, vision))[MATCHING.image_embeds])
    const outputs = await runTexts(model.sessions[TEXT.graph]!, idsOf(model, ['a dog']), [TEXT.text_embeds])
    const text = await floats(outputs[TEXT.text_embeds])
    for (const values of [image, text]) {
      for (let at = 0; at < values.length; at += width) {
        const length = Math.hypot(...values.subarray(at, at + width))
        expect(length).toBeCloseTo(1, 5)
      }
    }
    // The largest over the queries, not their mean.
    const scores = Array.from({ length: image.length / width }, (_, q) =>
      contrastiveScore(image.subarray(q * width, (q + 1) * width), text.subarray(0, width)),
    )
    expect(contrastiveScore(image, text.subarray(0, width))).toBe(Math.max(...scores))
    expect(new Set(scores).size).toBeGreaterThan(1)
  })

  test('a text alone reads neither a query nor a picture, and its padding changes nothing', async () => {
    const model = models['fp32']!
    const session = model.sessions[TEXT.graph]!
    const [long, short] = idsOf(model, [TEXTS[3]!, TEXTS[1]!])
    const { inputs } = model.manifest.graphs.find(({ name }) => name === TEXT.graph)!
    expect(inputs.map(({ name }) => name)).toEqual([TEXT.text_ids, TEXT.text_mask])
    const together = await floats(
      (await runTexts(session, [long!, short!], [TEXT.text_hidden]))[TEXT.text_hidden],
    )
    const own = await floats((await runTexts(session, [short!], [TEXT.text_hidden]))[TEXT.text_hidden])
    const row = together.length / 2
    expect(relativeError(together.slice(row, row + own.length), own)).toBeLessThan(SAME)
  })
})

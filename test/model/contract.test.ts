// What every architecture keeps to, on its fixture checkpoints at every precision: cache equals no cache, rows together
// equal each alone, each precision is within its bound, all equals transformers, and the manifest describes the graphs.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type GraphDescription, QUERIES, VISION } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { TOLERANCE } from '../../src/cli/verify.ts'
import { TASKS } from '../../src/engine/tasks.ts'
import { completeSettings, type GenerationSettings } from '../../src/generation-settings.ts'
import { AS_TRANSFORMERS, decode } from '../../src/image/decode.ts'
import { toPixels } from '../../src/image/pixels.ts'
import { ARCHITECTURES } from '../../src/model/architectures.ts'
import { DATA_TYPE, ModelProto } from '../../src/onnx/proto.ts'
import { filesOf } from '../../src/onnx/write.ts'
import { PRECISIONS, type Precision, type Target } from '../../src/quantize/recipes.ts'
import { Generation, type GenerationRow, generate } from '../../src/run/generate.ts'
import type { KeptPrompt, LanguageModel, PromptCache, PromptRow } from '../../src/run/language-model.ts'
import { type Model, openModel } from '../../src/run/model.ts'
import { type Outputs, runQueries } from '../../src/run/queries.ts'
import { argmax } from '../../src/run/sampling.ts'
import { concatRows, splitRows, Tensor } from '../../src/run/tensor.ts'
import { runVision } from '../../src/run/vision.ts'
import { CHECKPOINTS, FIXTURES } from '../fixtures.ts'
import { type RecordedCase, recordedCases } from '../recorded.ts'
import { relativeError } from '../tensors.ts'

/** The fixture checkpoints of each row of ARCHITECTURES. */
const CHECKPOINTS_OF: Readonly<Record<string, readonly string[]>> = {
  'blip2-opt': CHECKPOINTS,
  'blip2-t5': ['t5-gated', 't5-plain'],
  // It generates nothing: matching.test.ts has its contract.
  'blip2-itm': ['itm', 'itm-odd'],
  'instructblip-llama': ['llama-grouped'],
  'instructblip-t5': ['instruct-t5-plain'],
}
const GENERATING = Object.entries(CHECKPOINTS_OF)
  .filter(([name]) => name !== 'blip2-itm')
  .flatMap(([name, all]) => all.map((one): [string, string] => [name, one]))

/** float32 sums in another order differ by about 1e-6; a wiring mistake by more than 1e-2. */
const SAME = 1e-4
/**
 * Activations of quantized products are rounded to 8 bits, so a difference of 1e-6 before can become one step of a block.
 * Wrong keys, values or positions give more than 0.1.
 */
const SAME_ROUNDED = 0.02

/** How often the bound of verify: a sum of 24 products averages out less rounding than one of 1,000. Faults give about 1. */
const SMALL_WIDTHS = 2

const VARIANTS: Readonly<Record<string, { precision: Precision; target?: Target }>> = {
  fp32: { precision: 'fp32' },
  int8: { precision: 'int8' },
  int4: { precision: 'int4' },
  'int8 for a GPU': { precision: 'int8', target: 'gpu' },
}
const NAMES = Object.keys(VARIANTS)
const toleranceOf = (variant: string) => (VARIANTS[variant]!.precision === 'fp32' ? SAME : SAME_ROUNDED)

const PICTURES = ['disc-40x30.png', 'triangle-33x57.png']
const PROMPTS = [
  '',
  'Question: what is it? Answer:',
  'Question: what color is the car that is on the beach? Answer:',
]
const TOKENS = 10

test('every architecture has a fixture checkpoint', () => {
  expect(Object.keys(CHECKPOINTS_OF)).toEqual(ARCHITECTURES.map(({ name }) => name))
  for (const [name, checkpoints] of Object.entries(CHECKPOINTS_OF)) expect(checkpoints, name).not.toEqual([])
})

describe.each(GENERATING)('%s: %s', (architecture, checkpoint) => {
  let room: string
  const models: Record<string, Model> = {}
  let recorded: RecordedCase[]
  beforeAll(async () => {
    room = await mkdtemp(join(tmpdir(), 'glimpse-'))
    recorded = await recordedCases(checkpoint)
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

  async function pixelsOf({ preprocessorConfig }: Model, picture: string): Promise<Tensor> {
    const file = await readFile(join(FIXTURES, 'references', picture))
    const { data, dims } = toPixels(await decode(file, AS_TRANSFORMERS), preprocessorConfig)
    return Tensor.float32(data, dims)
  }

  /** Outputs of vision and queries for these pictures, and the texts beside them, in one run of each graph. */
  async function encode(model: Model, pixels: readonly Tensor[], texts: readonly string[]): Promise<Outputs> {
    const { queryTokenizer, sessions, manifest } = model
    const vision = await runVision(sessions[VISION.graph]!, await concatRows(pixels))
    const ids = queryTokenizer && texts.map((text) => queryTokenizer.encode(text))
    const names = describedGraph(model, QUERIES.graph).outputs.map(({ name }) => name)
    expect(manifest.queries.reads_text).toBe(ids !== undefined)
    return { ...(await runQueries(sessions[QUERIES.graph]!, vision, names, ids)), [VISION.vision]: vision }
  }

  async function promptRow(model: Model, picture: string, text: string): Promise<PromptRow> {
    const outputs = await encode(model, [await pixelsOf(model, picture)], [text])
    const ids = model.language!.start(text === '' ? [] : model.tokenizer.encode(text))
    return { prefix: outputs[QUERIES.prefix]!, ids }
  }

  /** The logits of the next token after a prompt and generated ids, all read in one run without a KV cache. */
  async function withoutCache(model: Model, row: PromptRow, generated: readonly number[]) {
    const described = model.manifest.language
    switch (described.kind) {
      case 'decoder': {
        const [read] = await model.language!.prefill([{ ...row, ids: [...row.ids, ...generated] }])
        return read!.logits
      }
      case 'encoder-decoder': {
        const decoderIds = [described.decoder_start_token_id, ...generated]
        return (await model.language!.allLogits(row, decoderIds)).at(-1)!
      }
      case 'none':
        throw new Error('It generates no text.')
    }
  }

  describe('the manifest', () => {
    test('names the architecture, and tasks of the table', () => {
      for (const { manifest } of Object.values(models)) {
        expect(manifest.architecture).toBe(architecture)
        expect(manifest.tasks.filter((name) => !Object.hasOwn(TASKS, name))).toEqual([])
      }
    })

    test.each(NAMES)('describes the inputs and outputs of the graphs: %s', async (variant) => {
      const { manifest } = models[variant]!
      const files = manifest.files.map(({ path }) => path).filter((path) => path.endsWith('.onnx'))
      expect(files).toEqual(manifest.graphs.map(({ name }) => filesOf(name)[0]))
      for (const { name, inputs, outputs } of manifest.graphs) {
        const bytes = await readFile(join(room, variant, filesOf(name)[0]))
        expect({ inputs, outputs }, name).toEqual(portsOf(bytes))
      }
    })

    test.each(NAMES)('gives the dims that the graphs compute: %s', async (variant) => {
      const model = models[variant]!
      const pixels = await Promise.all(PICTURES.map((picture) => pixelsOf(model, picture)))
      const texts = PICTURES.map(() => PROMPTS[1]!)
      const outputs = await encode(model, pixels, texts)
      for (const [name, tensor] of Object.entries(outputs)) {
        const described = model.manifest.graphs
          .flatMap((graph) => graph.outputs)
          .find((output) => output.name === name)!
        expect(tensor.type, name).toBe(described.type)
        expect(tensor.dims, name).toEqual(described.dims.map((dim) => (dim === 'B' ? PICTURES.length : dim)))
      }
    })
  })

  describe.each(NAMES)('%s', (variant) => {
    test('a KV cache gives the logits that a run without it gives', async () => {
      const model = models[variant]!
      const language = model.language
      if (!language) return
      for (const [i, text] of PROMPTS.entries()) {
        const row = await promptRow(model, PICTURES[i % 2]!, text)
        let [read] = await language.prefill([row])
        const generated: number[] = []
        while (generated.length < TOKENS && language.room(row.ids.length + generated.length) > 1) {
          const fresh = await withoutCache(model, row, generated)
          expect(relativeError(read!.logits, fresh), `${text} ${generated}`).toBeLessThan(
            toleranceOf(variant),
          )
          const id = argmax(read!.logits)
          expect(argmax(fresh)).toBe(id)
          generated.push(id)
          ;[read] = await language.step([read!.state], [id])
        }
        expect(generated.length).toBeGreaterThan(3)
      }
    })

    test('pictures in one run have the outputs of each alone', async () => {
      const model = models[variant]!
      const pixels = await Promise.all(PICTURES.map((picture) => pixelsOf(model, picture)))
      const texts = [PROMPTS[2]!, PROMPTS[1]!]
      const together = await encode(model, pixels, texts)
      for (const [i, one] of pixels.entries()) {
        const alone = await encode(model, [one], [texts[i]!])
        for (const [name, tensor] of Object.entries(alone)) {
          const row = (await splitRows(together[name]!))[i]!
          const error = relativeError(await row.floats(), await tensor.floats())
          expect(error, name).toBeLessThan(toleranceOf(variant))
        }
      }
    })

    test('prompts of which keys and values are kept have the ids of each alone', async () => {
      const model = models[variant]!
      const { language } = model
      if (!language) return
      const rows = await rowsOf(model)
      // Prompts share a cache if their image embeddings are the same.
      const sharing = model.manifest.queries.reads_text ? rows.length : PICTURES.length
      const caches = rows.map(() => heldPrompt())
      const held = rows.map((row, i) => ({
        ...row,
        prompt: { ...row.prompt, promptCache: caches[i % sharing] },
      }))
      const alone: number[][][] = []
      for (const row of rows) alone.push(...(await generate(language, [row])))
      // First nothing is kept, then another prompt about each picture, then the prompts themselves.
      expect(await generate(language, held)).toEqual(alone)
      for (const [i, row] of held.entries()) expect(await generate(language, [row])).toEqual([alone[i]])
      expect(await generate(language, held)).toEqual(alone)
    })

    test('rows of different prompts, pictures and settings have together the ids of each alone', async () => {
      const model = models[variant]!
      const { language } = model
      if (!language) return
      const rows = await rowsOf(model)
      const alone: number[][][] = []
      for (const row of rows) alone.push(...(await generate(language, [row])))
      expect(await generate(language, rows)).toEqual(alone)
      // The rows differ, so equal ids are no accident.
      expect(new Set(alone.map(String)).size).toBeGreaterThan(2)

      // The same when rows join between steps, and others leave unfinished.
      const found: number[][][] = []
      const generation = new Generation(language)
      const leaving = unwantedAfter(3, rows[0]!.prompt)
      await generation.join([watched(rows, found, 0), leaving.row])
      for (let i = 1; i < rows.length; i++) {
        await generation.step()
        leaving.step()
        await generation.join([watched(rows, found, i)])
      }
      while (generation.size > 0) {
        await generation.step()
        leaving.step()
      }
      expect(found).toEqual(alone)
      expect(leaving.ended()).toBe(false)
    })
  })

  /** Rows whose prompts have different lengths, with both pictures: greedy, beams, and sampling with different seeds. */
  async function rowsOf(model: Model): Promise<Row[]> {
    const settings: Partial<GenerationSettings>[] = [
      { max_new_tokens: TOKENS },
      { max_new_tokens: TOKENS, num_beams: 3, num_return_sequences: 2 },
      { max_new_tokens: TOKENS, min_new_tokens: 6, do_sample: true, seed: 1, temperature: 2 },
      { max_new_tokens: TOKENS, min_new_tokens: 6, do_sample: true, seed: 2, temperature: 2 },
    ]
    const rows: Row[] = []
    for (const [i, one] of settings.entries()) {
      const text = PROMPTS[i % PROMPTS.length]!
      rows.push({ prompt: await promptRow(model, PICTURES[i % 2]!, text), settings: one })
    }
    return rows
  }

  test.each(PRECISIONS.filter((precision) => precision !== 'fp32'))(
    'the logits at %s stay within their bound',
    async (precision) => {
      for (const variant of NAMES.filter((name) => VARIANTS[name]!.precision === precision)) {
        const [exact, found]: number[][] = [[], []]
        for (const [i, text] of PROMPTS.entries()) {
          for (const [name, values] of [
            ['fp32', exact!],
            [variant, found!],
          ] as const) {
            const model = models[name]!
            if (!model.language) continue
            const row = await promptRow(model, PICTURES[i % 2]!, text)
            for (const logits of await model.language.allLogits(row)) values.push(...logits)
          }
        }
        const error = relativeError(found!, exact!)
        expect(error, variant).toBeLessThan(SMALL_WIDTHS * TOLERANCE[precision])
        expect(error, variant).toBeGreaterThan(SAME)
      }
    },
  )

  test('every stage equals transformers at fp32', async () => {
    const model = models['fp32']!
    expect(recorded.length).toBeGreaterThan(1)
    for (const { picture, prompt, tensors, ids, decoderIds, generation, tokenIds } of recorded) {
      const pixels = await pixelsOf(model, picture)
      const outputs: Record<string, Tensor> = {
        ...(await encode(model, [pixels], [prompt])),
        pixel_values: pixels,
      }
      const language = model.language as LanguageModel
      const row: PromptRow = {
        prefix: outputs[QUERIES.prefix]!,
        ids: language.start(model.tokenizer.encode(prompt)),
      }
      expect(row.ids).toEqual(ids)
      if (language.encode) outputs['encoder'] = await language.encode(row)
      for (const [name, expected] of tensors) {
        if (name === 'logits') continue
        expect(relativeError(await outputs[name]!.floats(), expected), name).toBeLessThan(SAME)
      }
      const logits = (await language.allLogits(row, decoderIds)).flatMap((scores) => [...scores])
      expect(relativeError(logits, tensors.get('logits')!), 'logits').toBeLessThan(SAME)
      const [answers] = await generate(language, [{ prompt: row, settings: generation }])
      expect(answers![0], JSON.stringify(generation)).toEqual(tokenIds)
    }
  })
})

function heldPrompt(): PromptCache {
  let kept: KeptPrompt | undefined
  return {
    get: () => kept,
    set(prompt) {
      kept = prompt
    },
  }
}

interface Row {
  prompt: PromptRow
  settings: Partial<GenerationSettings>
}

/** Row i, whose answers are put into `found[i]`. */
function watched(rows: readonly Row[], found: number[][][], i: number): GenerationRow {
  return {
    prompt: rows[i]!.prompt,
    settings: completeSettings(rows[i]!.settings),
    onDone(answers) {
      found[i] = answers
    },
    onError(error) {
      throw error
    },
  }
}

/** A row with beams that nobody wants after so many steps. */
function unwantedAfter(steps: number, prompt: PromptRow) {
  let left = steps
  let ended = false
  const end = () => {
    ended = true
  }
  const settings = completeSettings({ max_new_tokens: 30, min_new_tokens: 30, num_beams: 2 })
  const row: GenerationRow = { prompt, settings, isWanted: () => left > 0, onDone: end, onError: end }
  return { row, step: () => void left--, ended: () => ended }
}

function describedGraph({ manifest }: Model, graph: string): GraphDescription {
  return manifest.graphs.find(({ name }) => name === graph)!
}

interface Port {
  name: string
  type: {
    tensor_type: { elem_type: number; shape: { dim: { dim_value?: number | string; dim_param?: string }[] } }
  }
}

/** The inputs and outputs of a .onnx file, as a manifest describes them. */
function portsOf(bytes: Uint8Array): Pick<GraphDescription, 'inputs' | 'outputs'> {
  const { graph } = ModelProto.toObject(ModelProto.decode(bytes), { arrays: true, longs: Number }) as {
    graph: { input: Port[]; output: Port[] }
  }
  const described = ({ name, type: { tensor_type } }: Port) => {
    const type = Object.entries(DATA_TYPE).find(([, code]) => code === tensor_type.elem_type)![0]
    const dims = tensor_type.shape.dim.map(({ dim_param, dim_value }) => dim_param ?? Number(dim_value))
    return { name, type, dims } as GraphDescription['inputs'][number]
  }
  return { inputs: graph.input.map(described), outputs: graph.output.map(described) }
}

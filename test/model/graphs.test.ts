// The graphs as files: scopes, names, and onnxruntime's warnings when it opens them.

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LANGUAGE, QUERIES, VISION } from '../../src/artifact/contract.ts'
import { buildArtifact } from '../../src/builder/build.ts'
import { ModelProto } from '../../src/onnx/proto.ts'
import { PRECISIONS } from '../../src/quantize/recipes.ts'
import { configWith, makeCheckpoint, randomTensors } from '../make-checkpoint.ts'

const GRAPHS = [VISION.graph, QUERIES.graph, LANGUAGE.graph]

/** Wide enough that the graphs use every operator of the recipes. */
const config = await configWith({
  text_config: { hidden_size: 64, word_embed_proj_dim: 64, num_attention_heads: 2 },
})

let room: string
let checkpoint: string
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
  checkpoint = await makeCheckpoint(config)
  for (const precision of PRECISIONS) await buildArtifact(checkpoint, join(room, precision), { precision })
})
afterAll(async () => {
  await rm(room, { recursive: true })
  await rm(checkpoint, { recursive: true })
})

interface Model {
  graph: {
    name: string
    node: { name: string; op_type: string; input: string[]; output: string[] }[]
    initializer: { name: string }[]
    input: { name: string }[]
    output: { name: string }[]
  }
}

/** Every path that begins the name of a tensor: `qformer`, `qformer.encoder`, ... */
const paths = new Set(
  randomTensors(config).flatMap(({ name }) => {
    const steps = name.split('.')
    return steps.map((_, i) => steps.slice(0, i + 1).join('.'))
  }),
)
/** The tied head has no tensor, and the mask is no layer. */
const WITHOUT_TENSORS = ['language_model.lm_head', 'language_model.model.decoder.causal_bias']

/** A path of the checkpoint, several joined by + as their last steps, or an output of the graph. */
function isScope(scope: string, outputs: readonly { name: string }[]): boolean {
  const parent = scope.slice(0, scope.lastIndexOf('.') + 1)
  const steps = scope.slice(parent.length).split('+')
  return (
    steps.every((step) => paths.has(`${parent}${step}`)) ||
    WITHOUT_TENSORS.includes(scope) ||
    outputs.some(({ name }) => name === scope)
  )
}

async function read(precision: string, graph: string): Promise<Model['graph']> {
  const bytes = await readFile(join(room, precision, `${graph}.onnx`))
  return (ModelProto.toObject(ModelProto.decode(bytes), { arrays: true }) as Model).graph
}

describe.each(PRECISIONS)('%s', (precision) => {
  test.each(GRAPHS)(
    '%s: every node has a name of its own at its path in the checkpoint, and each value is made once',
    async (name) => {
      const { node, initializer, input, output } = await read(precision, name)
      const names = node.map((one) => one.name)
      expect(new Set(names).size).toBe(names.length)
      const outside = names.filter((one) => !isScope(one.slice(0, one.lastIndexOf('/')), output))
      expect(outside).toEqual([])
      const made = [...initializer, ...input]
        .map((one) => one.name)
        .concat(node.flatMap(({ output }) => output))
      expect(new Set(made).size).toBe(made.length)
      const seen = new Set([...initializer, ...input].map((one) => one.name))
      for (const one of node) {
        expect(
          one.input.filter((value) => value !== '' && !seen.has(value)),
          one.name,
        ).toEqual([])
        for (const value of one.output) seen.add(value)
      }
    },
  )

  test('onnxruntime opens all without a warning', async () => {
    const args = [
      '--input-type=module',
      '--eval',
      `import { InferenceSession } from 'onnxruntime-node'
       for (const path of ${JSON.stringify(GRAPHS.map((name) => join(room, precision, `${name}.onnx`)))}) {
         const session = await InferenceSession.create(path, { logSeverityLevel: 2, intraOpNumThreads: 1 })
         console.log(session.inputNames[0])
       }`,
    ]
    const env = { ...process.env, ORT_DISABLE_TELEMETRY: '1' }
    const { stderr, stdout } = await promisify(execFile)(process.execPath, args, { env })
    expect(stderr).toBe('')
    expect(stdout.trim().split('\n')).toEqual([VISION.pixels, QUERIES.vision, LANGUAGE.prefix])
  })
})

test('a scope is the path of the layer in the model', async () => {
  const language = (await read('fp32', 'language')).node.map(({ name }) => name)
  expect(language).toContain('language_model.model.decoder.layers.1.self_attn.out_proj/FusedMatMul')
  const vision = (await read('int8', 'vision')).node.map(({ name }) => name)
  expect(vision).toContain('vision_model.encoder.layers.1.self_attn.qkv/MatMulIntegerToFloat')
})

test('at fp32 an initializer has the name of its tensor, or of the tensors that it joins', async () => {
  const tensors = new Set(randomTensors(config).map(({ name }) => name))
  for (const graph of GRAPHS) {
    const { initializer } = await read('fp32', graph)
    const stored = initializer.map(({ name }) => name).filter((name) => !name.includes('/constant'))
    expect(stored.length).toBeGreaterThan(5)
    const unknown = stored.filter((name) => {
      const [, parent, fused, last] = /^(.*\.)?([^.]*\+[^.]*)\.(\w+)$/.exec(name) ?? []
      const names = fused ? fused.split('+').map((step) => `${parent}${step}.${last}`) : [name]
      return !names.every((one) => tensors.has(one))
    })
    expect(unknown, graph).toEqual([])
  }
})

test('the embedding is read in blocks where whole blocks fill the width', async () => {
  const kinds = (await read('int8', 'language')).node.map(({ op_type }) => op_type)
  expect(kinds).toContain('GatherBlockQuantized')
})

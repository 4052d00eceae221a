// Every activation equals transformers' function of that name.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ACTIVATIONS, type Activation } from '../../src/model/config.ts'
import { activate } from '../../src/model/layers.ts'
import { Graph } from '../../src/onnx/graph.ts'
import { writeGraphs } from '../../src/onnx/write.ts'
import { openSession } from '../../src/run/session.ts'
import { Tensor } from '../../src/run/tensor.ts'

const INPUTS = [-12, -3, -0.5, 0, 0.7, 5, 12]
/** ACT2FN[name](INPUTS) of transformers 5.18, rounded to six places. */
const EXPECTED: [Activation, number[]][] = [
  ['gelu', [0.0, -0.00405, -0.154269, 0.0, 0.530625, 4.999999, 12.0]],
  ['gelu_python', [0.0, -0.00405, -0.154269, 0.0, 0.530625, 4.999999, 12.0]],
  ['gelu_10', [0.0, -0.00405, -0.154269, 0.0, 0.530625, 4.999999, 10.0]],
  ['relu', [0.0, 0.0, 0.0, 0.0, 0.7, 5.0, 12.0]],
  ['relu2', [0.0, 0.0, 0.0, 0.0, 0.49, 25.0, 144.0]],
  ['relu6', [0.0, 0.0, 0.0, 0.0, 0.7, 5.0, 6.0]],
  ['leaky_relu', [-0.12, -0.03, -0.005, 0.0, 0.7, 5.0, 12.0]],
  ['quick_gelu', [0.0, -0.018071, -0.149612, 0.0, 0.536894, 4.998993, 12.0]],
  ['gelu_new', [0.0, -0.003637, -0.154286, 0.0, 0.53057, 5.0, 12.0]],
  ['gelu_pytorch_tanh', [0.0, -0.003637, -0.154286, 0.0, 0.53057, 5.0, 12.0]],
  ['gelu_python_tanh', [0.0, -0.003637, -0.154286, 0.0, 0.53057, 5.0, 12.0]],
  ['gelu_accurate', [0.0, -0.003637, -0.154286, 0.0, 0.53057, 5.0, 12.0]],
  ['gelu_fast', [0.0, -0.003637, -0.154286, 0.0, 0.53057, 5.0, 12.0]],
  ['silu', [-7.4e-5, -0.142278, -0.18877, 0.0, 0.467731, 4.966536, 11.999926]],
  ['swish', [-7.4e-5, -0.142278, -0.18877, 0.0, 0.467731, 4.966536, 11.999926]],
  ['hardswish', [0.0, 0.0, -0.208333, 0.0, 0.431667, 5.0, 12.0]],
  ['mish', [-7.4e-5, -0.145647, -0.220744, 0.0, 0.561148, 4.999552, 12.0]],
  ['sigmoid', [6e-6, 0.047426, 0.377541, 0.5, 0.668188, 0.993307, 0.999994]],
  ['tanh', [-1.0, -0.995055, -0.462117, 0.0, 0.604368, 0.999909, 1.0]],
  ['linear', [-12.0, -3.0, -0.5, 0.0, 0.7, 5.0, 12.0]],
]

let room: string
beforeAll(async () => {
  room = await mkdtemp(join(tmpdir(), 'glimpse-'))
})
afterAll(() => rm(room, { recursive: true }))

test('the table covers all activations', () => {
  expect(EXPECTED.map(([name]) => name)).toEqual([...ACTIVATIONS])
})

test.each(EXPECTED)('%s', async (name, expected) => {
  const g = Graph.named(name)
  // An Add comes first, as in a model after every product. Without it `linear` would return the graph's input.
  const x = g.op('Add', [g.input('x', 'float32', ['N']), g.scalar(0)])
  g.output('y', activate(g, x, name), 'float32', ['N'])
  await writeGraphs([g], room)
  const session = await openSession(room, name, { threads: 1 })
  const { y } = await session.run({ x: Tensor.float32(Float32Array.from(INPUTS), [INPUTS.length]) }, ['y'])
  const found = await y!.floats()
  expected.forEach((value, i) => {
    expect(found[i]).toBeCloseTo(value, 5)
  })
  await session.close()
})

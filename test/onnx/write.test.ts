// A graph on disk: onnxruntime computes what was built, and a tensor whose size differs from its dims is an error.

import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Graph, type InitializerTensor } from '../../src/onnx/graph.ts'
import { ModelProto } from '../../src/onnx/proto.ts'
import { writeGraphs } from '../../src/onnx/write.ts'
import { openSession } from '../../src/run/session.ts'
import { Tensor } from '../../src/run/tensor.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'glimpse-'))
})
afterEach(() => rm(folder, { recursive: true }))

function floats(dims: number[], ...pieces: number[][]): InitializerTensor {
  return {
    type: 'float32',
    dims,
    sources: [],
    async *bytes() {
      for (const piece of pieces) yield new Uint8Array(Float32Array.from(piece).buffer)
    },
  }
}

test('x * weight + 0.5 is computed, the weight read from the data file', async () => {
  const g = Graph.named('small')
  const x = g.input('x', 'float32', ['B', 3])
  const product = g.op('Mul', [x, g.initializer('weight', floats([3], [1, 2], [3]))])
  g.output('y', g.op('Add', [product, g.scalar(0.5)]), 'float32', ['B', 3])
  await writeGraphs([g], folder)
  const session = await openSession(folder, 'small', { threads: 1 })
  const { y } = await session.run({ x: Tensor.float32(Float32Array.of(1, 1, 1, 0, -1, 2), [2, 3]) }, ['y'])
  await session.close()
  expect([...(await y!.floats())]).toEqual([1.5, 2.5, 3.5, 0.5, -1.5, 6.5])
})

test('reports the names, sizes and checksums of its files, and every byte of weights', async () => {
  const g = Graph.named('two')
  g.initializer('a', floats([3], [1, 2, 3]))
  g.initializer('b', floats([2000], new Array(2000).fill(7)))
  let reported = 0
  const written = await writeGraphs([g], folder, {
    onBytes: (graph, count) => {
      expect(graph).toBe('two')
      reported += count
    },
  })
  expect(reported).toBe(4 * 2003)
  expect(written.map(({ path }) => path)).toEqual(['two.onnx', 'two.data'])
  for (const { path, sizeBytes, sha256 } of written) {
    const bytes = await readFile(join(folder, path))
    expect(bytes.length).toBe(sizeBytes)
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256)
  }
})

test('large weights begin on a page, small ones on 64 bytes', async () => {
  const g = Graph.named('pages')
  for (const [name, count] of [
    ['a', 3],
    ['b', 5],
    ['c', 2000],
    ['d', 1],
  ] as const)
    g.initializer(name, floats([count], new Array(count).fill(1)))
  await writeGraphs([g], folder)
  const model = ModelProto.toObject(ModelProto.decode(await readFile(join(folder, 'pages.onnx')))) as {
    graph: { initializer: { external_data: { key: string; value: string }[] }[] }
  }
  const offsets = model.graph.initializer.map(
    ({ external_data }) => external_data.find(({ key }) => key === 'offset')!.value,
  )
  expect(offsets).toEqual(['0', '64', '4096', String(4096 + 8000 + (64 - (8000 % 64 || 64)))])
})

test.each([
  ['fewer', [1, 2]],
  ['more', [1, 2, 3, 4]],
])('a tensor with %s bytes than its dims need is an error', async (_, values) => {
  const g = Graph.named('wrong')
  g.initializer('weight', floats([3], values))
  await expect(writeGraphs([g], folder)).rejects.toThrow(
    `has ${values.length * 4} bytes; its dims and type need 12`,
  )
})

test('the order in which weights are written does not change the files', async () => {
  const build = () =>
    ['one', 'two'].map((name) => {
      const g = Graph.named(name)
      for (const [i, count] of [3, 2000, 5].entries())
        g.initializer(`w${i}`, floats([count], new Array(count).fill(i)))
      return g
    })
  const natural = await writeGraphs(build(), folder)
  const ranks: number[] = []
  const sorted = await writeGraphs(build(), folder, {
    rank: ({ dims }) => -dims[0]!,
    onRank: async (rank) => {
      ranks.push(rank)
    },
  })
  expect(sorted).toEqual(natural)
  expect(ranks).toEqual([-2000, -5, -3])
})

test('a view has the bytes of its weight and another shape', async () => {
  const g = Graph.named('viewed')
  const x = g.input('x', 'float32', ['B', 1])
  const weight = g.initializer('weight', floats([2, 2], [1, 2, 3, 4]))
  g.output('y', g.op('Add', [x, g.view(weight, [1, 4])]), 'float32', ['B', 4])
  g.output('z', g.op('Add', [x, weight]), 'float32', [2, 2])
  const [, data] = await writeGraphs([g], folder)
  expect(data!.sizeBytes).toBe(16)
  const session = await openSession(folder, 'viewed', { threads: 1 })
  const { y, z } = await session.run({ x: Tensor.float32(Float32Array.of(10), [1, 1]) }, ['y', 'z'])
  await session.close()
  expect([[...(await y!.floats())], y!.dims]).toEqual([
    [11, 12, 13, 14],
    [1, 4],
  ])
  expect([[...(await z!.floats())], z!.dims]).toEqual([
    [11, 12, 13, 14],
    [2, 2],
  ])
})

// Names in a graph.

import { expect, test } from 'vitest'
import { Graph } from '../../src/onnx/graph.ts'

test('a name is a scope and an operator; a second one of the same name gets a number', () => {
  const g = Graph.named('g')
  const x = g.input('x', 'float32', ['B'])
  const first = g.scope('a').scope('b').op('Neg', [x])
  const second = g.scope('a').scope('b').op('Neg', [first])
  g.op('Neg', [second])
  expect(g.parts.nodes.map(({ name }) => name)).toEqual(['a.b/Neg', 'a.b/Neg.2', '/Neg'])
})

test('nodes, weights and constants have different names', () => {
  const g = Graph.named('g')
  const tensor = { type: 'float32', dims: [1], sources: [] as string[], async *bytes() {} } as const
  const names = [
    g.initializer('Neg', { ...tensor, dims: [1] }),
    g.op('Neg', [g.scalar(1)]),
    g.int64(1),
    g.scalar(2),
    g.initializer('constant', { ...tensor, dims: [1] }),
  ].map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
})

test('an output named like a node does not share its name', () => {
  const g = Graph.named('g')
  g.output('Neg', g.op('Neg', [g.input('x', 'float32', [1])]), 'float32', [1])
  const names = g.parts.nodes.map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
})

test('an absent optional input is an empty name', () => {
  const g = Graph.named('g')
  const x = g.input('x', 'float32', [1])
  g.op('Clip', [x, undefined, x])
  expect(g.parts.nodes[0]!.input).toEqual(['x', '', 'x'])
})

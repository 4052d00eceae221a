// A part of a model under one name: where its nodes are in the graph, and where its weights are in the checkpoint.
//
// A layer names each step once, as the checkpoint does: `part.at('self_attn')`. The node of `encoder.layers.3.mlp.fc1` is
// `encoder.layers.3.mlp.fc1/FusedMatMul`, and its initializer has the name of the checkpoint's tensor.

import type { Weight, Weights } from '../checkpoint/weights.ts'
import { Graph, type Value } from '../onnx/graph.ts'
import { toFloat32 } from '../quantize/kernels.ts'
import type { Matrix } from '../quantize/matrix.ts'

export class Part {
  readonly g: Graph
  readonly weights: Weights

  constructor(g: Graph, weights: Weights) {
    this.g = g
    this.weights = weights
  }

  at(step: string): Part {
    return new Part(this.g.scope(step), this.weights.at(step))
  }

  op(...node: Parameters<Graph['op']>): Value {
    return this.g.op(...node)
  }

  ops(...node: Parameters<Graph['ops']>): Value[] {
    return this.g.ops(...node)
  }

  /** Declares a tensor of the checkpoint. Errors are collected until Weights.assertAllUsed. */
  take(name: string, dims: number[]): Weight {
    return this.weights.take(name, dims)
  }

  /** A tensor of the checkpoint as a float32 initializer of the same dims. */
  parameter(name: string, dims: number[]): Value {
    return this.stored(name, this.take(name, dims))
  }

  /** A matrix as a float32 initializer of the same dims. */
  stored(name: string, { dims, sources, rows }: Matrix): Value {
    async function* bytes() {
      for await (const values of rows()) yield toFloat32(values)
    }
    return this.g.initializer(name, { type: 'float32', dims, sources, bytes })
  }
}

/** A graph. `build` adds its inputs, nodes and outputs; `weights` are at the checkpoint's root. */
export function graphOf(name: string, weights: Weights, build: (root: Part) => void): Graph {
  const g = Graph.named(name)
  build(new Part(g, weights))
  return g
}

// The mask of a decoder with a KV cache -> positions and what attends to what.
//
// mask [B, C + S] has 1 at positions that hold a token and 0 at empty slots and padding: C slots of the cache, then the S
// positions of this run.

import type { Value } from '../onnx/graph.ts'
import { DATA_TYPE } from '../onnx/proto.ts'
import type { Part } from './part.ts'

/**
 * Added to masked attention scores. Large enough that softmax gives 0; finite, so that a row of padding alone gives no
 * NaN.
 */
const MASKED = -3e38

/** The position of a token is the count of ones before it. mask [B, C + S] -> [B, C + S]: 1, 2, ...; 0 where masked. */
export function countedPositions({ g }: Part, mask: Value): Value {
  return g.op('Mul', [g.op('CumSum', [mask, g.scalar(1, 'int64')]), mask])
}

/** Values of all positions [B, C + S] -> those of this run [B, S]. `length`: S, [1]. */
export function lastPositions({ g }: Part, values: Value, length: Value): Value {
  return g.op('Slice', [values, g.op('Neg', [length]), g.int64(Number.MAX_SAFE_INTEGER), g.int64(1)])
}

/** Whether a position of this run attends to a position: not to later ones and not to padding. -> bool [B, 1, S, C + S] */
export function causalMask({ g }: Part, mask: Value, length: Value): Value {
  const total = g.op('Squeeze', [g.op('Shape', [mask], { start: 1, end: 2 })]) // []
  const first = g.op('Sub', [total, g.op('Squeeze', [length])]) // []
  const one = g.scalar(1, 'int64')
  const columns = g.op('Range', [g.scalar(0, 'int64'), total, one]) // [C + S]
  const rows = g.op('Unsqueeze', [g.op('Range', [first, total, one]), g.int64(1)]) // [S, 1]
  const before = g.op('LessOrEqual', [columns, rows]) // [S, C + S]
  const real = g.op('Unsqueeze', [g.op('Cast', [mask], { to: DATA_TYPE.bool }), g.int64(1, 2)]) // [B, 1, 1, C + S]
  return g.op('And', [before, real])
}

/** The bias of attention scores: `bias` where `mask` holds. [B, 1 or heads, S, C + S] */
export function maskedBias({ g }: Part, bias: Value, mask: Value): Value {
  return g.op('Where', [mask, bias, g.scalar(MASKED)])
}

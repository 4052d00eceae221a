// A graph's .onnx file -> the size of the smallest weight that onnxruntime prepacks.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ModelProto } from './proto.ts'
import { filesOf } from './write.ts'

/** Operators whose second input onnxruntime prepacks when a session opens. */
const PREPACKED_OPERATORS = ['MatMulNBits', 'MatMulIntegerToFloat', 'FusedMatMul', 'MatMul', 'Gemm', 'Conv']

/** The fields of a ModelProto that are read. protobufjs gives an absent list as []. */
interface Model {
  graph: {
    node: { op_type: string; input: string[] }[]
    initializer: { name: string; external_data: { key: string; value: string }[] }[]
  }
}

/** Bytes of the smallest prepacked weight in the graph's data file; Infinity if there is none. */
export async function smallestPrepackedBytes(folder: string, graph: string): Promise<number> {
  const bytes = await readFile(join(folder, filesOf(graph)[0]))
  const { node, initializer } = (ModelProto.decode(bytes) as unknown as Model).graph
  const names = new Set(
    node.filter(({ op_type }) => PREPACKED_OPERATORS.includes(op_type)).map(({ input }) => input[1]),
  )
  const sizes = initializer
    .filter(({ name }) => names.has(name))
    .map(({ external_data }) => Number(external_data.find(({ key }) => key === 'length')?.value ?? 0))
  return Math.min(...sizes)
}

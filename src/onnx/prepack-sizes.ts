// A graph's .onnx file -> the size of the smallest weight that onnxruntime prepacks.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { ModelProto } from './proto.ts'
import { filesOf } from './write.ts'

/** Operators whose second input onnxruntime prepacks when a session opens. */
const PREPACKED_OPERATORS = ['MatMulNBits', 'DynamicQuantizeMatMul', 'FusedMatMul', 'MatMul', 'Gemm', 'Conv']

const location = z.array(z.object({ key: z.string(), value: z.string() }))
const model = z.object({
  graph: z.object({
    node: z.array(z.object({ op_type: z.string(), input: z.array(z.string()) })),
    initializer: z.array(z.object({ name: z.string(), external_data: location })),
  }),
})

/** Bytes of the smallest prepacked weight in the graph's data file; Infinity if there is none. */
export async function smallestPrepackedBytes(folder: string, graph: string): Promise<number> {
  const bytes = await readFile(join(folder, filesOf(graph)[0]))
  const { node, initializer } = model.parse(
    ModelProto.toObject(ModelProto.decode(bytes), { arrays: true }),
  ).graph
  const names = new Set(
    node.filter(({ op_type }) => PREPACKED_OPERATORS.includes(op_type)).map(({ input }) => input[1]),
  )
  const sizes = initializer
    .filter(({ name }) => names.has(name))
    .map(({ external_data }) => Number(external_data.find(({ key }) => key === 'length')?.value ?? 0))
  return Math.min(...sizes)
}

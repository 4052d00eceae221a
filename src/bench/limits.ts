// A graph, the peak of the processor and the bandwidth of the memory -> the time below which no run of the graph can be.
//
// A product of matrices takes its multiplications divided by the peak, or the bytes of its weights divided by the bandwidth,
// whichever is longer. Attention between positions is left out (3 % of a ViT-g), and so is what a run does not read whole:
// of an embedding table that is not the LM head too, a token reads one row.

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { Graph, MICROSOFT } from '../onnx/graph.ts'
import { BYTES_PER_ELEMENT, DATA_TYPE, type DataType, ModelProto } from '../onnx/proto.ts'
import { filesOf, writeGraphs } from '../onnx/write.ts'
import { openSession } from '../run/session.ts'
import { Tensor } from '../run/tensor.ts'

const nodeSchema = z.object({
  name: z.string(),
  op_type: z.string(),
  input: z.array(z.string()),
  attribute: z.array(z.object({ name: z.string(), i: z.coerce.number().default(0) })),
})
const modelSchema = z.object({
  graph: z.object({
    node: z.array(nodeSchema),
    initializer: z.array(
      z.object({ name: z.string(), dims: z.array(z.coerce.number()), data_type: z.number() }),
    ),
  }),
})

/** A product with a weight. */
interface Product {
  /** The path of its weight in the checkpoint, and the operator. */
  name: string
  /** Elements of the weight: so many multiplications a position. */
  elements: number
  /** Bytes of the weight, its scales and zero points. A run of the graph reads them once. */
  bytes: number
}

/** Operators whose second input is a weight. */
const PRODUCTS =
  /^(MatMulNBits|DynamicQuantizeMatMul|MatMulIntegerToFloat|MatMulInteger|FusedMatMul|MatMul|Gemm|Conv)$/

/** The products with weights in a graph's .onnx file. */
export async function productsOf(folder: string, graph: string): Promise<Product[]> {
  const bytes = await readFile(join(folder, filesOf(graph)[0]))
  const { node, initializer } = modelSchema.parse(
    ModelProto.toObject(ModelProto.decode(bytes), { arrays: true, longs: Number }),
  ).graph
  const stored = new Map(
    initializer.map(({ name, dims, data_type }) => {
      const size = dims.reduce((a, b) => a * b, 1)
      return [name, { size, bytes: size * bytesOf(data_type) }]
    }),
  )
  return node.flatMap(({ name, op_type, input, attribute }) => {
    const weight = stored.get(input[1] ?? '')
    if (!PRODUCTS.test(op_type) || weight === undefined) return []
    const attributeOf = (key: string) => attribute.find((one) => one.name === key)?.i ?? 0
    // Packed weights have fewer elements than values.
    const elements = op_type === 'MatMulNBits' ? attributeOf('N') * attributeOf('K') : weight.size
    const bytes = input.reduce((sum, one) => sum + (stored.get(one)?.bytes ?? 0), 0)
    return [{ name, elements, bytes }]
  })
}

function bytesOf(dataType: number): number {
  const type = (Object.keys(DATA_TYPE) as DataType[]).find((one) => DATA_TYPE[one] === dataType)
  return type === undefined ? 0 : BYTES_PER_ELEMENT[type]
}

export interface Peaks {
  /** Multiplications and additions per second. */
  operationsPerSecond: number
  bytesPerSecond: number
}

/** Milliseconds. `positionsOf`: how many positions a product is computed for. */
export function limitOf(
  products: readonly Product[],
  positionsOf: (product: Product) => number,
  { operationsPerSecond, bytesPerSecond }: Peaks,
): number {
  const seconds = products.map((product) => {
    const arithmetic = (2 * product.elements * positionsOf(product)) / operationsPerSecond
    return Math.max(arithmetic, product.bytes / bytesPerSecond)
  })
  return 1000 * seconds.reduce((a, b) => a + b, 0)
}

const PEAK = { rows: 512, width: 2048, runs: 5 }

/** Operations per second of one large product on this machine: of 8-bit integers, or of float32. The best of some runs. */
export async function measurePeak(kind: 'int8' | 'float32', threads: number): Promise<number> {
  const { rows, width, runs } = PEAK
  const folder = await mkdtemp(join(tmpdir(), 'glimpse-peak-'))
  try {
    await writeGraphs([productGraph(kind)], folder)
    const session = await openSession(folder, kind, { threads })
    const x = Tensor.float32(new Float32Array(rows * width).fill(1), [rows, width])
    let best = Infinity
    for (let i = 0; i <= runs; i++) {
      const startMs = performance.now()
      await session.run({ x }, ['y'])
      if (i > 0) best = Math.min(best, performance.now() - startMs)
    }
    await session.close()
    return (2 * rows * width * width * 1000) / best
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** x [rows, width] times a weight [width, width] -> y [1, width], its first row: the rest need not be copied. */
function productGraph(kind: 'int8' | 'float32'): Graph {
  const { rows, width } = PEAK
  const g = Graph.named(kind)
  const x = g.input('x', 'float32', [rows, width])
  async function* ones() {
    const row = kind === 'int8' ? new Int8Array(width).fill(1) : new Float32Array(width).fill(1)
    for (let i = 0; i < width; i++) yield new Uint8Array(row.buffer)
  }
  const weight = g.initializer('weight', { type: kind, dims: [width, width], sources: [], bytes: ones })
  const product =
    kind === 'int8'
      ? g.op('MatMulInteger', [g.op('Cast', [x], { to: DATA_TYPE.uint8 }), weight])
      : g.op('FusedMatMul', [x, weight], { transB: 1 }, MICROSOFT)
  const first = g.op('Slice', [product, g.int64(0), g.int64(1), g.int64(0)])
  g.output('y', first, kind === 'int8' ? 'int32' : 'float32', [1, width])
  return g
}

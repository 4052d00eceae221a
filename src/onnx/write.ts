// A drawn graph -> `<name>.onnx` and, beside it, `<name>.data` with the weights.
//
// Weights pass through one at a time in pieces, so memory does not grow with the model. onnxruntime maps the data
// file: large tensors start on a page so that they can be mapped without a copy.
// External data: onnx/docs/ExternalData.md.

import { createHash } from 'node:crypto'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Attribute, Graph, Port } from './graph.ts'
import { ATTRIBUTE_TYPE, DATA_TYPE, EXTERNAL, ModelProto } from './proto.ts'

/** Opset 20 brought Gelu; IR 10 goes with opset 21 and below. Both are older than any onnxruntime we support. */
const OPSET = 20
const IR_VERSION = 10
const PAGE_BYTES = 4096
const SMALL_ALIGNMENT_BYTES = 64

export interface WrittenFile {
  path: string
  sizeBytes: number
  sha256: string
}

/** The names of a graph's two files. */
export function filesOf(graph: string): [model: string, data: string] {
  return [`${graph}.onnx`, `${graph}.data`]
}

/** Writes both files into `folder`. `onBytes` is told of every piece of weights written. */
export async function writeGraph(
  graph: Graph,
  folder: string,
  onBytes: (count: number) => void = () => {},
): Promise<WrittenFile[]> {
  const { drawing } = graph
  const [modelPath, dataPath] = filesOf(drawing.name)
  const initializer: object[] = drawing.small.map(({ name, type, dims, bytes }) => ({
    name,
    dims,
    data_type: DATA_TYPE[type],
    raw_data: bytes,
  }))

  const file = await open(join(folder, dataPath), 'w')
  const hash = createHash('sha256')
  let position = 0
  const append = async (bytes: Uint8Array) => {
    // One call may write less than asked, as on a disk that is nearly full.
    for (let done = 0; done < bytes.length; ) {
      done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
    }
    hash.update(bytes)
    position += bytes.length
  }
  try {
    for (const { name, tensor, sizeBytes } of drawing.stored) {
      const alignment = sizeBytes >= PAGE_BYTES ? PAGE_BYTES : SMALL_ALIGNMENT_BYTES
      await append(new Uint8Array((alignment - (position % alignment)) % alignment))
      const offset = position
      for await (const bytes of tensor.bytes()) {
        await append(bytes)
        onBytes(bytes.length)
      }
      if (position - offset !== sizeBytes) {
        throw new Error(`${name} promised ${sizeBytes} bytes and gave ${position - offset}`)
      }
      initializer.push({
        name,
        dims: tensor.dims,
        data_type: DATA_TYPE[tensor.type],
        data_location: EXTERNAL,
        external_data: [
          { key: 'location', value: dataPath },
          { key: 'offset', value: String(offset) },
          { key: 'length', value: String(sizeBytes) },
        ],
      })
    }
    await file.sync()
  } finally {
    await file.close()
  }

  const model = ModelProto.encode({
    ir_version: IR_VERSION,
    producer_name: 'glimpse',
    opset_import: [
      { domain: '', version: OPSET },
      { domain: 'com.microsoft', version: 1 },
    ],
    graph: {
      name: drawing.name,
      node: drawing.nodes.map((node) => ({
        name: node.name,
        op_type: node.type,
        domain: node.domain,
        input: node.inputs,
        output: node.outputs,
        attribute: Object.entries(node.attributes).map(([name, value]) => attribute(name, value)),
      })),
      initializer,
      input: drawing.inputs.map(port),
      output: drawing.outputs.map(port),
    },
  }).finish()
  await writeFile(join(folder, modelPath), model)
  return [
    { path: modelPath, sizeBytes: model.length, sha256: createHash('sha256').update(model).digest('hex') },
    { path: dataPath, sizeBytes: position, sha256: hash.digest('hex') },
  ]
}

function attribute(name: string, value: Attribute): object {
  if (typeof value === 'number') return { name, i: value, type: ATTRIBUTE_TYPE.int }
  if (typeof value === 'string') {
    return { name, s: new TextEncoder().encode(value), type: ATTRIBUTE_TYPE.string }
  }
  if ('float' in value) return { name, f: value.float, type: ATTRIBUTE_TYPE.float }
  return { name, ints: value, type: ATTRIBUTE_TYPE.ints }
}

function port({ name, type, dims }: Port): object {
  const dim = dims.map((d) => (typeof d === 'number' ? { dim_value: d } : { dim_param: d }))
  return { name, type: { tensor_type: { elem_type: DATA_TYPE[type], shape: { dim } } } }
}

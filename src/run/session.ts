// A graph on disk -> something that runs. The home of onnxruntime-node.
//
// A run is one synchronous native call: whoever opens sessions should be in a process of its own (engine/model-process.ts).

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import { ArtifactError, BusyError, SetupError } from '../errors.ts'
import { DATA_TYPE, ModelProto } from '../onnx/proto.ts'
import { filesOf } from '../onnx/write.ts'

export type FloatTensor = { data: Float32Array; dims: readonly number[] }
type Feed = FloatTensor | { data: BigInt64Array; dims: readonly number[] }

export interface Session {
  /** Runs once and returns the outputs asked for. */
  run(feeds: Record<string, Feed>, wanted: readonly string[]): Promise<Record<string, FloatTensor>>
  close(): Promise<void>
}

/** What runs a graph's operators; those it has no kernel for run on the CPU. */
export type Provider = 'cpu' | 'cuda' | 'webgpu'

export interface SessionOptions {
  /** The CPU unless told otherwise; one that is there, see provider.ts. */
  provider?: Provider
  /** Threads of one operator; the machine's cores unless told otherwise. */
  threads?: number
}

/** What decides how weights are laid out in memory. onnxruntime: onnxruntime_session_options_config_keys.h. */
export const PREPACK_CONFIG = {
  // Without VNNI, 8-bit products saturate in 16 bits: this keeps them exact at some cost in time.
  x64quantprecision: '1',
}
/** Throws ArtifactError `graph_unreadable`, SetupError `graph_refused`, BusyError `out_of_memory`. */
export async function openSession(
  folder: string,
  graph: string,
  { threads = availableParallelism(), provider = 'cpu' }: SessionOptions = {},
): Promise<Session> {
  const options = { intraOpNumThreads: threads, executionProviders: providersOf(provider) }
  return toSession(await create(folder, graph, options, PREPACK_CONFIG))
}

function providersOf(provider: Provider): Provider[] {
  return provider === 'cpu' ? ['cpu'] : [provider, 'cpu']
}

/** Opens and runs y = -x on a provider. Throws what onnxruntime says when it cannot be had. */
export async function tryProvider(provider: Provider): Promise<void> {
  const valueInfo = (name: string) => ({
    name,
    type: { tensor_type: { elem_type: DATA_TYPE.float32, shape: { dim: [{ dim_value: 1 }] } } },
  })
  const graph = {
    name: 'try',
    node: [{ input: ['x'], output: ['y'], op_type: 'Neg' }],
    input: [valueInfo('x')],
    output: [valueInfo('y')],
  }
  const model = { ir_version: 10, graph, opset_import: [{ domain: '', version: 20 }] }
  const bytes = ModelProto.encode(ModelProto.fromObject(model)).finish()
  const session = await start(bytes, {
    executionProviders: providersOf(provider),
    logSeverityLevel: 3,
  })
  try {
    await session.run({ x: new Tensor('float32', [1], [1]) })
  } finally {
    await session.release()
  }
}

function toSession(session: InferenceSession): Session {
  return {
    async run(feeds, wanted) {
      const inputs: Record<string, Tensor> = {}
      for (const [name, { data, dims }] of Object.entries(feeds)) {
        inputs[name] =
          data instanceof Float32Array ? new Tensor('float32', data, dims) : new Tensor('int64', data, dims)
      }
      const outputs = await session.run(inputs, wanted).catch((error: unknown) => {
        throw isOutOfMemory(error) ? outOfMemory(error) : error
      })
      return Object.fromEntries(wanted.map((name) => [name, floats(outputs[name], name)]))
    },
    close: () => session.release(),
  }
}

/**
 * Opens a graph, and writes it into `to` as it stands in memory then, tensors of fewer than `outsideFromBytes` in the
 * .onnx file itself. Throws as openSession does.
 */
export async function openAndSave(
  from: string,
  graph: string,
  to: string,
  outsideFromBytes: number,
): Promise<Session> {
  const [model, data] = filesOf(graph)
  const session = await create(
    from,
    graph,
    { optimizedModelFilePath: join(to, model) },
    {
      ...PREPACK_CONFIG,
      save_external_prepacked_constant_initializers: '1',
      optimized_model_external_initializers_file_name: data,
      optimized_model_external_initializers_min_size_in_bytes: String(outsideFromBytes),
    },
  )
  return toSession(session)
}

async function create(
  folder: string,
  graph: string,
  options: InferenceSession.SessionOptions,
  settings: Record<string, string>,
): Promise<InferenceSession> {
  const [model] = filesOf(graph)
  const path = join(folder, model)
  // From a path, never from a buffer: the weights are mapped from the file instead of held twice.
  return await start(path, {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'all',
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    ...options,
    extra: { session: settings },
  }).catch((cause: unknown) => {
    if (isOutOfMemory(cause)) throw outOfMemory(cause)
    if (isOfSystem(cause)) {
      throw new SetupError(
        'graph_refused',
        `Expected to open ${path} but the system refused. Allow this user to read it, or raise the limits on threads and open files.`,
        { cause },
      )
    }
    throw new ArtifactError(
      'graph_unreadable',
      `Expected a graph that onnxruntime can open at ${path} but it refused. Build the checkpoint again.`,
      { cause },
    )
  })
}

/**
 * Every session starts here. At the first one of a process onnxruntime 1.30 reads in its environment whether it may
 * report sessions to Microsoft (mobile.events.data.microsoft.com); it has no other switch. A worker thread's
 * environment is a copy that native code does not see. Throws SetupError `worker_thread` there.
 */
function start(model: string | Uint8Array, options: InferenceSession.SessionOptions) {
  if (!isMainThread) {
    throw new SetupError(
      'worker_thread',
      "Expected the main thread but this is a worker thread, where onnxruntime's telemetry cannot be switched off. Call startEngine(): it runs the model in its own process.",
    )
  }
  process.env.ORT_DISABLE_TELEMETRY = '1'
  // Its two overloads take what this one parameter takes.
  return InferenceSession.create(model as string, options)
}

/** As onnxruntime's allocators, CUDA and WebGPU say it; a device that is lost takes its memory with it. */
function isOutOfMemory(error: unknown): boolean {
  return /failed to allocate memory|out of memory|OutOfMemory|Cannot allocate memory|bad_alloc|CUDA failure 2\b|device (was |is )?lost/i.test(
    textOf(error),
  )
}

/** As onnxruntime's files and threads say it (core/platform/posix/env.cc): a right or a limit is missing. */
function isOfSystem(error: unknown): boolean {
  return /system error number \d|file "[^"]*" failed: |pthread_create failed/.test(textOf(error))
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function outOfMemory(cause: unknown): BusyError {
  return new BusyError(
    'out_of_memory',
    'Expected memory for a run but there is too little. Ask again in a moment; if it stays so, set GLIMPSE_MAX_BATCH lower or run a smaller model.',
    { cause },
  )
}

function floats(tensor: Tensor | undefined, name: string): FloatTensor {
  if (!(tensor?.data instanceof Float32Array)) {
    throw new ArtifactError(
      'graph_unreadable',
      `Expected the output ${name} as float32 but got ${tensor?.type}. Build the checkpoint again.`,
    )
  }
  return { data: tensor.data, dims: tensor.dims }
}

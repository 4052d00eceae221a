// A graph on disk -> a session that runs it. The only file that imports onnxruntime-node.
//
// A run is one synchronous native call that blocks the process, so sessions of a server belong into a process of their
// own (engine/model-process.ts).

import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node'
import { ArtifactError, BusyError, SetupError } from '../errors.ts'
import { Graph } from '../onnx/graph.ts'
import { encode, filesOf } from '../onnx/write.ts'
import { prepackSettings, thisProcessor } from './cpu.ts'
import { type DeviceElements, type Elements, type ElementType, Tensor } from './tensor.ts'

export interface Session {
  /** Runs once and returns the outputs of these names. @throws BusyError `out_of_memory`. */
  run(
    feeds: Readonly<Record<string, Tensor>>,
    outputNames: readonly string[],
  ): Promise<Record<string, Tensor>>
  close(): Promise<void>
}

/** onnxruntime's execution provider. Operators it has no kernel for run on the CPU. */
export type Provider = 'cpu' | 'cuda' | 'webgpu'

export interface SessionOptions {
  /** Must be available: see provider.ts. Default: cpu. */
  provider?: Provider
  /** Threads of one operator. Default: the number of cores. */
  threads?: number
  /**
   * Also writes the graph as it is in memory, with prepacked weights, into this folder. Tensors of fewer than
   * `externalFromBytes` are stored in the .onnx file.
   */
  save?: { folder: string; externalFromBytes: number }
  /**
   * Whether the session's idle threads wait for the next run without rest. That makes short runs in a row faster, but takes
   * a core from other sessions for some milliseconds after the last one. Default: true.
   */
  spins?: boolean
}

/** @throws ArtifactError `graph_unreadable`, SetupError `graph_refused`, BusyError `out_of_memory`. */
export async function openSession(
  folder: string,
  graph: string,
  { threads = availableParallelism(), provider = 'cpu', save, spins = true }: SessionOptions = {},
): Promise<Session> {
  const [model, data] = filesOf(graph)
  const path = join(folder, model)
  const prepackedWeights = save && {
    save_external_prepacked_constant_initializers: '1',
    optimized_model_external_initializers_file_name: data,
    optimized_model_external_initializers_min_size_in_bytes: String(save.externalFromBytes),
  }
  // From a path: onnxruntime then maps the weights from the file. From a buffer it would hold them twice.
  const session = await start(path, {
    executionProviders: providersOf(provider),
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    ...(save && { optimizedModelFilePath: join(save.folder, model) }),
    extra: {
      session: {
        ...prepackSettings(thisProcessor()),
        ...prepackedWeights,
        ...(!spins && { force_spinning_stop: '1' }),
      },
    },
  }).catch((cause: unknown) => {
    if (isOutOfMemory(cause)) throw outOfMemory(cause)
    if (isSystemError(cause)) {
      throw new SetupError(
        'graph_refused',
        `The operating system refused to open ${path}. Allow this user to read it, or raise the limits on threads and open files.`,
        { cause },
      )
    }
    throw new ArtifactError(
      'graph_unreadable',
      `onnxruntime cannot read the graph ${path}. Build the checkpoint again: npx glimpse build`,
      { cause },
    )
  })
  return toSession(session)
}

function providersOf(provider: Provider): Provider[] {
  return provider === 'cpu' ? ['cpu'] : [provider, 'cpu']
}

/** Opens and runs y = -x on a provider. @throws onnxruntime's error if the provider is unavailable. */
export async function tryProvider(provider: Provider): Promise<void> {
  const g = Graph.named('try')
  g.output('y', g.op('Neg', [g.input('x', 'float32', [1])]), 'float32', [1])
  const session = await start(encode(g), { executionProviders: providersOf(provider), logSeverityLevel: 3 })
  try {
    await session.run({ x: new OrtTensor('float32', [1], [1]) })
  } finally {
    await session.release()
  }
}

function toSession(session: InferenceSession): Session {
  return {
    async run(feeds, outputNames) {
      const inputs = Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, toOrt(tensor)]))
      const outputs = await session.run(inputs, outputNames).catch((error: unknown) => {
        throw isOutOfMemory(error) ? outOfMemory(error) : error
      })
      return Object.fromEntries(outputNames.map((name) => [name, fromOrt(outputs[name], name)]))
    },
    close: () => session.release(),
  }
}

/**
 * The only place that creates sessions. At the first session of a process, onnxruntime 1.30 reads in the environment
 * whether it may report sessions to Microsoft (mobile.events.data.microsoft.com); it has no other switch. A worker
 * thread's environment is a copy that native code does not read. @throws SetupError `worker_thread` in such a thread.
 */
function start(model: string | Uint8Array, options: InferenceSession.SessionOptions) {
  if (!isMainThread) {
    throw new SetupError(
      'worker_thread',
      "A session was opened in a worker thread, where onnxruntime's telemetry cannot be switched off. Open it in the main thread, or call startEngine(), which runs the model in its own process.",
    )
  }
  process.env.ORT_DISABLE_TELEMETRY = '1'
  // create() has one overload for each of the two types.
  return InferenceSession.create(model as string, options)
}

/** Messages of onnxruntime's allocators, CUDA and WebGPU. A GPU that runs out of memory can report a lost device. */
function isOutOfMemory(error: unknown): boolean {
  return /failed to allocate memory|out of memory|OutOfMemory|Cannot allocate memory|bad_alloc|CUDA failure 2\b|device (was |is )?lost/i.test(
    textOf(error),
  )
}

/** Messages of onnxruntime's files and threads (core/platform/posix/env.cc): missing rights, or limits. */
function isSystemError(error: unknown): boolean {
  return /system error number \d|file "[^"]*" failed: |pthread_create failed/.test(textOf(error))
}

export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function outOfMemory(cause: unknown): BusyError {
  return new BusyError(
    'out_of_memory',
    'There is too little memory for this run. Try again in a moment. If it happens again, lower GLIMPSE_MAX_BATCH or use a smaller model.',
    { cause },
  )
}

function toOrt({ type, content, dims }: Tensor): OrtTensor {
  if ('handle' in content) return content.handle as OrtTensor
  // The constructor has one overload for each type.
  return new OrtTensor(type as 'float32', content as Float32Array, dims)
}

const TYPES: readonly string[] = ['float32', 'float16', 'int64', 'int32'] satisfies ElementType[]

function fromOrt(tensor: OrtTensor | undefined, name: string): Tensor {
  if (!tensor || !TYPES.includes(tensor.type)) {
    throw new ArtifactError(
      'graph_unreadable',
      `Expected the graph's output ${name} as ${TYPES.join(', ')} but got ${tensor?.type}. Build the checkpoint again: npx glimpse build`,
    )
  }
  const onDevice: DeviceElements = {
    handle: tensor,
    download: async () => (await tensor.getData(true)) as Elements,
  }
  const isHere = tensor.location === 'cpu' || tensor.location === 'cpu-pinned'
  return new Tensor(tensor.type as ElementType, isHere ? (tensor.data as Elements) : onDevice, tensor.dims)
}

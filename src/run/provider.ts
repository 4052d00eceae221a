// What a model is to run on -> what it does run on. A provider that cannot be had fails closed, or, where the operator
// allows it, falls back to the CPU and says so.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { SetupError } from '../errors.ts'
import { type Provider, tryProvider } from './session.ts'

export interface ProviderChoice {
  requested: Provider
  /** When it cannot be had: an error, or the CPU in its place. */
  onUnavailable: 'fail' | 'cpu'
}

export interface ResolvedProvider {
  provider: Provider
  /** Set when the CPU stands in: why what was wanted is missing. */
  fallback?: string
}

/** Throws SetupError `provider_missing`. `attempt` is how it is found out; tests have their own. */
export async function resolveProvider(
  { requested, onUnavailable }: ProviderChoice,
  attempt: (provider: Provider) => Promise<void> = tryProvider,
): Promise<ResolvedProvider> {
  if (requested === 'cpu') return { provider: 'cpu' }
  try {
    await attempt(requested)
    return { provider: requested }
  } catch (cause) {
    const why = requested === 'cuda' ? whyNoCuda(textOf(cause)) : whyNoWebgpu(textOf(cause))
    if (onUnavailable === 'cpu') return { provider: 'cpu', fallback: why }
    throw new SetupError(
      'provider_missing',
      `Expected to run on ${requested} but ${why} Or set GLIMPSE_PROVIDER_MISSING=cpu to run on the CPU meanwhile.`,
      { cause },
    )
  }
}

/** A clause and what to do. onnxruntime says in one line that a library is missing, not which. */
function whyNoCuda(message: string): string {
  if (/driver version is insufficient|CUDA failure 35\b/i.test(message)) {
    return "the GPU's driver is too old for CUDA 12. Use a driver of 525 or newer (on SageMaker: InferenceAmiVersion al2-ami-sagemaker-inference-gpu-2-1)."
  }
  if (/no CUDA-capable device|CUDA failure (100|999|3)\b/i.test(message)) {
    return 'no GPU is visible here. Give the container one: docker run --gpus all.'
  }
  if (!existsSync(join(libraries(), 'libonnxruntime_providers_cuda.so'))) {
    return "onnxruntime's CUDA libraries are not installed. Install them: npm rebuild onnxruntime-node --onnxruntime-node-install=cuda12."
  }
  if (/load shared library|cannot open shared object/i.test(message)) {
    return 'CUDA 12 or cuDNN 9 cannot be loaded. Install both, or start from an image that has them (nvidia/cuda:12-cudnn-runtime).'
  }
  return 'it refused. Look at what onnxruntime wrote above, and at nvidia-smi.'
}

function whyNoWebgpu(message: string): string {
  if (/adapter/i.test(message)) {
    return 'no adapter was found. Install a Vulkan loader (libvulkan1) and the driver of the GPU.'
  }
  return 'it refused. Look at what onnxruntime wrote above.'
}

/** Where onnxruntime-node keeps its native files. */
function libraries(): string {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node')
  return join(dirname(entry), '..', 'bin', 'napi-v6', process.platform, process.arch)
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

// The requested execution provider -> the provider that is used. If the requested one is unavailable, opening fails, or
// falls back to the CPU with the reason, as GLIMPSE_PROVIDER_MISSING decides.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { SetupError } from '../errors.ts'
import { type Provider, textOf, tryProvider } from './session.ts'

export interface ProviderChoice {
  requested: Provider
  /** If it is unavailable: an error, or the CPU instead. */
  onUnavailable: 'fail' | 'cpu'
}

export interface ResolvedProvider {
  provider: Provider
  /** After a fallback to the CPU: why the requested provider is unavailable, and what to do. */
  fallback?: string
}

/** `attempt` throws if a provider is unavailable; tests replace it. @throws SetupError `provider_missing`. */
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
      `The provider ${requested} is unavailable: ${why} Or set GLIMPSE_PROVIDER_MISSING=cpu to run on the CPU until then.`,
      { cause },
    )
  }
}

/** The reason and what to do. onnxruntime reports that a library is missing, but not which. */
function whyNoCuda(message: string): string {
  if (/driver version is insufficient|CUDA failure 35\b/i.test(message)) {
    return "the GPU's driver is too old for CUDA 12. Use a driver of 535 or newer (on SageMaker: InferenceAmiVersion al2-ami-sagemaker-inference-gpu-2-1)."
  }
  if (/no CUDA-capable device|CUDA failure (100|999|3)\b/i.test(message)) {
    return 'no GPU is visible to this process. In a container: docker run --gpus all.'
  }
  if (!existsSync(join(nativeFolder(), 'libonnxruntime_providers_cuda.so'))) {
    return "onnxruntime's CUDA libraries are not installed. Install them: npm rebuild onnxruntime-node --onnxruntime-node-install=cuda12."
  }
  if (/load shared library|cannot open shared object/i.test(message)) {
    return 'CUDA 12 or cuDNN 9 cannot be loaded. Install both, or start from an image that has them (nvidia/cuda:12-cudnn-runtime).'
  }
  return 'onnxruntime could not start it. See its messages above and the output of nvidia-smi.'
}

function whyNoWebgpu(message: string): string {
  if (/adapter/i.test(message)) {
    return 'no adapter was found. Install a Vulkan loader (libvulkan1) and the driver of the GPU.'
  }
  return 'onnxruntime could not start it. See its messages above.'
}

/** The folder of onnxruntime-node's native files. */
function nativeFolder(): string {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node')
  return join(dirname(entry), '..', 'bin', 'napi-v6', process.platform, process.arch)
}

// Glimpse as a library: build an artifact from a checkpoint once, then run requests about pictures.

export { buildArtifact } from './builder/build.ts'
export { embeddedArtifact } from './builder/embedded.ts'
export { type Engine, type Hooks, startEngine } from './engine/engine.ts'
export type { ModelCard } from './engine/protocol.ts'
export type { InferenceRequest, InferenceResult, Sequence, TimingsMs } from './engine/request.ts'
export { ArtifactError, BusyError, RequestError, SetupError, UpstreamError } from './errors.ts'
export type { GenerationSettings } from './generation-settings.ts'
export type { Turn } from './tokens/prompt.ts'

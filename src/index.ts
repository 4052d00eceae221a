// Glimpse as a library: open() a model and ask it about pictures. Below it: build an artifact, and run its engine.

export { buildArtifact } from './builder/build.ts'
export { embeddedArtifact } from './builder/embedded.ts'
export { type Engine, type Hooks, startEngine } from './engine/engine.ts'
export type { ModelCard } from './engine/protocol.ts'
export type { InferenceRequest, InferenceResult, Sequence, TimingsMs } from './engine/request.ts'
export { ArtifactError, BusyError, RequestError, SetupError, UpstreamError } from './errors.ts'
export type { GenerationSettings } from './generation-settings.ts'
export { type AskOptions, type Embed, type Glimpse, type OpenOptions, open, type Picture } from './library.ts'
export type { Turn } from './tokens/prompt.ts'

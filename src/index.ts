// Glimpse as a library: build a checkpoint once, then ask about pictures.

export { buildArtifact } from './builder/build.ts'
export { embeddedArtifact } from './builder/embedded.ts'
export { ArtifactError, BusyError, RequestError, SetupError, UpstreamError } from './errors.ts'
export type { Ask, Reply, Sequence, TimingsMs } from './job/ask.ts'
export { type Engine, type Hooks, startEngine } from './job/engine.ts'
export type { ModelCard } from './job/protocol.ts'
export type { GenerationSettings } from './run/settings.ts'
export type { Turn } from './tokens/prompt.ts'

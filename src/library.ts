// Glimpse in a program: a model that is open, and a function for each thing that it can be asked.

import { localModel, type ModelChoice, type ModelHooks } from './app/local-model.ts'
import { readConfig } from './config.ts'
import { type Hooks, startEngine } from './engine/engine.ts'
import type { ModelCard } from './engine/protocol.ts'
import type { InferenceResult } from './engine/request.ts'
import type { Kind } from './engine/tasks/features.ts'
import type { RequestOf, ResultOf } from './engine/tasks.ts'
import type { GenerationSettings } from './generation-settings.ts'
import { readPictureFile } from './image/file.ts'
import type { Turn } from './tokens/prompt.ts'

/** A file's path or `file:` URL, or the bytes of a JPEG, PNG, WebP, GIF, AVIF or TIFF file. */
export type Picture = string | URL | Uint8Array

export interface OpenOptions
  extends Omit<ModelChoice, 'model'>,
    Pick<ModelHooks, 'confirm' | 'onWait' | 'onPreparing'> {
  /** Bytes done and in all, while a model is downloaded or built. */
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void
  /** Ends a download. */
  signal?: AbortSignal
}

export interface AskOptions extends Hooks {
  settings?: Partial<GenerationSettings>
  /** A request that takes longer fails with BusyError `deadline`. */
  deadlineMs?: number
}

/** An embed: row-major `data` of `shape`. */
export interface Embed {
  shape: number[]
  data: Float32Array
}

/**
 * An open model. Its functions may be called at the same time; requests that wait are answered in batches. Errors are
 * RequestError (the picture or the request), BusyError (`deadline`, `cancelled`, `restarting`), each with a `code`.
 */
export interface Glimpse {
  /** Name, precision, and what the model can see. */
  readonly model: ModelCard
  /** What is in the picture. `prompt`: words that the caption continues. */
  caption(picture: Picture, options?: AskOptions & { prompt?: string }): Promise<InferenceResult>
  /** The answer to a question about the picture. `history`: earlier questions and answers about it, oldest first. */
  ask(
    picture: Picture,
    question: string,
    options?: AskOptions & { history?: readonly Turn[] },
  ): Promise<InferenceResult>
  /** How well each text matches the picture, best first. The model must be one for matching. */
  match(
    picture: Picture,
    texts: readonly string[],
    options?: Pick<RequestOf<'match'>, 'rank_by' | 'text_processing' | 'deadlineMs'> & Hooks,
  ): Promise<ResultOf<'match'>['matches']>
  /** Features of a picture, a text, or both, by the names of `kinds`. Default: all that the model has but `vision`. */
  embed(
    what: { picture?: Picture; text?: string; kinds?: readonly Kind[] },
    options?: Pick<RequestOf<'features'>, 'text_processing' | 'deadlineMs'> & Hooks,
  ): Promise<Partial<Record<Kind, Embed>>>
  /** Ends the model's process. Requests that still run fail with BusyError `closing`. */
  close(): Promise<void>
}

/**
 * Opens a model in a process of its own.
 * @param model a folder that buildArtifact wrote, `owner/name` on the Hugging Face hub (made once and kept in GLIMPSE_CACHE),
 * or s3://bucket/prefix. Default: GLIMPSE_MODEL, else the embedded model
 * @throws ArtifactError, SetupError, UpstreamError, RequestError `not_on_hub`
 * @example
 * const glimpse = await open('Salesforce/blip2-opt-2.7b', { precision: 'int4' })
 * const { text } = await glimpse.caption('photo.jpg')
 * await glimpse.close()
 */
export async function open(model?: string, options: OpenOptions = {}): Promise<Glimpse> {
  const { onProgress, signal, confirm, onWait, onPreparing, ...choice } = options
  const hooks: ModelHooks = {
    confirm,
    onWait,
    onPreparing,
    whileFetching: (work) => work({ signal, onProgress }),
  }
  const engine = await startEngine(await localModel(readConfig(), { model, ...choice }, hooks))
  return {
    get model() {
      return engine.model
    },
    async caption(picture, { onToken, signal, ...fields } = {}) {
      const image = await bytesOf(picture)
      return await engine.answer<'caption'>({ task: 'caption', image, ...fields }, { onToken, signal })
    },
    async ask(picture, question, { onToken, signal, ...fields } = {}) {
      const image = await bytesOf(picture)
      return await engine.answer<'answer'>(
        { task: 'answer', image, question, ...fields },
        { onToken, signal },
      )
    },
    async match(picture, texts, { onToken, signal, ...fields } = {}) {
      const image = await bytesOf(picture)
      return (await engine.answer<'match'>({ task: 'match', image, texts, ...fields }, { onToken, signal }))
        .matches
    },
    async embed({ picture, text, kinds }, { onToken, signal, ...fields } = {}) {
      const image = picture === undefined ? undefined : await bytesOf(picture)
      const request = { task: 'features', image, text, kinds, encoding_format: 'base64', ...fields } as const
      const { features } = await engine.answer<'features'>(request, { onToken, signal })
      const entries = Object.entries(features).map(([kind, { shape, data }]) => [
        kind,
        { shape, data: floatsOf(data) },
      ])
      return Object.fromEntries(entries) as Partial<Record<Kind, Embed>>
    },
    close: () => engine.close(),
  }
}

async function bytesOf(picture: Picture): Promise<Uint8Array> {
  return picture instanceof Uint8Array ? picture : await readPictureFile(picture)
}

/** From numbers, or from base64 of little-endian float32. */
function floatsOf(data: number[] | string): Float32Array {
  if (typeof data !== 'string') return Float32Array.from(data)
  const bytes = Buffer.from(data, 'base64')
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}

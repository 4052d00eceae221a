// An engine whose model matches -> the vectors and probabilities that search needs.

import type { Engine } from '../engine/engine.ts'
import type { ModelCard } from '../engine/protocol.ts'
import { SetupError, UpstreamError } from '../errors.ts'
import { toHalf } from '../half.ts'
import type { ModelOfVectors } from './store.ts'

export interface Match {
  /** That the text is about the picture, from 0 to 1. */
  probability: number
  /** Its logit, which the paper adds to the contrastive score. */
  logit: number
}

/** The bytes of a picture, or its sha256 where the engine may have it in its cache. */
export type KnownPicture = { image: Uint8Array } | { sha256: string }

export interface Embedder {
  readonly model: ModelOfVectors
  /** Pictures that are worth sending at once. */
  readonly batch: number
  /** Whether the model's card says that ranking again by probability finds more. */
  readonly rerankHelps: boolean
  /** [Q, E] in half precision, each of length 1. @throws RequestError about the picture; BusyError */
  embedPicture(image: Uint8Array, signal?: AbortSignal): Promise<Uint16Array>
  /** [E] of length 1. @throws RequestError about the text; BusyError */
  embedText(text: string, signal?: AbortSignal): Promise<Float32Array>
  /** @throws RequestError about the two, `picture_forgotten` when the cache has it no more; BusyError */
  match(picture: KnownPicture, text: string, signal?: AbortSignal): Promise<Match>
}

/** @param batch see Embedder. @throws SetupError `no_matching` when the model does not match */
export async function engineEmbedder(engine: Engine, batch: number): Promise<Embedder> {
  const card = await (engine.describe?.() ?? engine.model)
  const { about } = card
  const model = vectorsOf(card)
  const featureOf = async (
    kind: 'image_embeds_proj' | 'text_embeds_proj',
    input: { image: Uint8Array } | { text: string },
    signal?: AbortSignal,
  ): Promise<Float32Array> => {
    const request = { task: 'features', kinds: [kind], encoding_format: 'base64', ...input } as const
    const { features } = await engine.answer<'features'>(request, { signal })
    const { data } = features[kind] ?? {}
    if (typeof data === 'string') return floatsOf(data)
    throw new UpstreamError(
      'engine_failed',
      `Expected ${kind} in base64 of the engine but got something else.`,
    )
  }
  return {
    model,
    batch,
    rerankHelps: about?.rerank ?? false,
    embedPicture: async (image, signal) => toHalf(await featureOf('image_embeds_proj', { image }, signal)),
    // The first token's vector is the text's.
    embedText: async (text, signal) =>
      (await featureOf('text_embeds_proj', { text }, signal)).slice(0, model.width),
    async match(picture, text, signal) {
      const named = 'image' in picture ? picture : { picture: picture.sha256 }
      const { matches } = await engine.answer<'match'>({ task: 'match', texts: [text], ...named }, { signal })
      const { probability = 0, logits = [] } = matches[0] ?? {}
      return { probability, logit: logits[1] ?? 0 }
    },
  }
}

function vectorsOf({ name, about, vectors }: ModelCard): ModelOfVectors {
  if (vectors) return { name, ...vectors, duplicates: about?.duplicates }
  const message = `Expected a model for matching, such as one built from Salesforce/blip2-itm-vit-g, but ${name} is none. Choose one with --model or GLIMPSE_MODEL.`
  throw new SetupError('no_matching', message)
}

/** Little-endian float32 in base64. */
function floatsOf(base64: string): Float32Array {
  return new Float32Array(new Uint8Array(Buffer.from(base64, 'base64')).buffer)
}

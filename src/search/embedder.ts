// An engine whose model matches -> the vectors and probabilities that search needs.

import type { ModelOfVectors } from './store.ts'

export interface Match {
  /** That the text is about the picture, from 0 to 1. */
  probability: number
  /** Its logit, which the paper adds to the contrastive score. */
  logit: number
}

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
  /**
   * @param picture its bytes, or its sha256 where the engine may have it in its cache
   * @throws RequestError `picture_forgotten` when the cache has it no more; BusyError
   */
  match(
    picture: { image: Uint8Array } | { sha256: string },
    text: string,
    signal?: AbortSignal,
  ): Promise<Match>
}

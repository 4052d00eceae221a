// What generation needs of a language model. Each kind of language model (decoder, encoder-decoder) is one file that
// implements it; generate.ts, the searches and the logits processors know no more than this.
//
// A row is one sequence that grows. Its state is opaque, and is used once: a step names the state that each of its rows
// continues. So rows join (states of a later prefill), leave (states that are not named) and branch (a state that is named
// several times, for beams) between any two steps, whatever their lengths.

import type { Tensor } from './tensor.ts'

export interface PromptRow {
  /** float32 [1, Q, D], the row's image embeddings. */
  prefix: Tensor
  /** Ids of the prompt, as `start` returns them. */
  ids: readonly number[]
  /** Of this prefix. `prefill` may begin with what it holds, and leaves there what the row has read. Absent: all is read. */
  promptCache?: PromptCache
}

/** Holds what a language model keeps of one prompt, for the next prompt with the same image embeddings. */
export interface PromptCache {
  get(): KeptPrompt | undefined
  set(prompt: KeptPrompt): void
}

/** Keys and values of a prompt's positions. Only the language model that made it can use it. */
export interface KeptPrompt {
  /** Of all memory that it keeps. */
  readonly byteLength: number
}

/** What logits processors see of a row. */
export interface Context {
  /** The ids that transformers' processors see, generated ids last. */
  ids: readonly number[]
  /** The length that transformers compares with min_length. */
  length: number
  /** How many of `ids` were generated. */
  newTokens: number
}

/** A row after a run of the model: what the next step continues, and the logits [V] of the row's next token. */
export interface RowOutput {
  state: RowState
  logits: Float32Array
}

/** Keys and values of the positions that a row has read. Only the language model that made it can use it. */
export type RowState = object

export interface LanguageModel {
  /** V */
  readonly vocabulary: number
  /** The ids that end an answer; none if answers end at their maximum length. */
  readonly eosTokenIds: readonly number[]
  /** null: finished rows of a batch are padded with the first end token. */
  readonly padTokenId: number | null
  /** Token that stands for the image in transformers' ids, which no answer may contain; null if there is none. */
  readonly imageTokenId: number | null
  /** The ids that the model reads for a prompt of these ids. An empty prompt is the begin token alone. */
  start(promptIds: readonly number[]): number[]
  /** How many tokens can be generated after a prompt of so many ids. Below 1, the prompt is too long. */
  room(promptLength: number): number
  /** Without `promptIds`: as if the answer stood alone. */
  context(promptIds: readonly number[] | undefined, generated: readonly number[]): Context
  /** Reads images and prompts. `check` is called between runs of the graph; it throws to cancel. */
  prefill(rows: readonly PromptRow[], check?: () => void): Promise<RowOutput[]>
  /** Row i continues `states[i]` with `tokenIds[i]`. States that are not named are lost. */
  step(states: readonly RowState[], tokenIds: readonly number[]): Promise<RowOutput[]>
  /**
   * For comparisons: the logits of all positions of a row, in the order of the reference's tensor `logits`. Where an encoder
   * reads the row, of all positions of the decoder, which reads `decoderIds` (default: the start token alone).
   */
  allLogits(row: PromptRow, decoderIds?: readonly number[]): Promise<Float32Array[]>
  /** Features of a text alone, [1, T, D]: what transformers' Blip2Model.get_text_features gives. Not of every model. */
  textFeatures?(ids: readonly number[]): Promise<Tensor>
  /** For comparisons: the encoder's output [1, Q + T, D], where there is an encoder. */
  encode?(row: PromptRow): Promise<Tensor>
}

// What a task is: its request, its result, its steps and its wire form, in one object. tasks.ts is the table of them.

import type { z } from 'zod'
import type { PromptCache } from '../../run/language-model.ts'
import type { Model } from '../../run/model.ts'
import type { Outputs } from '../../run/queries.ts'
import type { BaseRequest, BaseResult } from '../request.ts'
import type { Stopwatch } from '../timings.ts'

/** A request on its way through the stages. */
export interface ActiveRequest<Prepared = unknown, Own = unknown> {
  prepared: Prepared
  /** What the stages computed for its picture, and its query text: the outputs that `reads` names. */
  outputs?: Outputs
  /** Of its picture; absent where the model keeps no prompts. */
  promptCache?: PromptCache
  clock: Stopwatch
  /** False once it is finished, or was cancelled. */
  isActive(): boolean
  /** Ends it with the task's own part of the result, or with an error. */
  finish(outcome: { own: Own } | { error: unknown }): void
  /** Receives each new piece of text. */
  onToken?: (text: string) => void
}

/** A text that the queries read, in architectures whose queries do. */
export interface QueryText {
  text: string
  ids: readonly number[]
}

/**
 * `Fields`: a request without its picture. `Own`: a result without what every result has. `Prepared`: what `prepare` makes
 * of a request.
 */
export interface Task<Fields, Own, Prepared> {
  /**
   * The fields of a request on the wire (POST /v1/<name>, /invocations, remote engines), besides the picture. They check
   * and do not change it: requests of the library and of chats are used as they are, so defaults belong to `prepare`.
   */
  fields: z.ZodObject<z.ZodRawShape>
  /** Checks what `fields` cannot. @throws RequestError */
  checkFields?(request: Fields): void
  /** The task's own part of a result on the wire. */
  result: z.ZodType<Own>
  /** A request for smoke tests and the warm-up. */
  sample: Fields
  /** Reads the request before any graph runs. @throws RequestError */
  prepare(model: Model, request: Fields): Prepared
  /** The text that the queries read beside the picture, where the architecture has such queries. */
  queryText?(prepared: Prepared): QueryText | undefined
  /** Names of the outputs of picture and query text that `run` reads (artifact/contract.ts); none without a picture. */
  reads(prepared: Prepared, model: Model): readonly string[]
  /** Whether a request may have no picture. Default: each needs one. */
  isPictureOptional?: boolean
  /** Whether results are generated text, so that one without text is a failure. Default: no. */
  generates?: boolean
  /** Computes the results of requests whose `outputs` are set, and finishes each of them. */
  run(model: Model, requests: readonly ActiveRequest<Prepared, Own>[]): Promise<void>
}

/** A task of any types, as the pipeline and the servers handle them. */
export type AnyTask = Task<BaseRequest, Partial<BaseResult>, unknown>

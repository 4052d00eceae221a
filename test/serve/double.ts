// A test double of Engine: gives every picture the same caption; fails and waits on command.

import { createHash } from 'node:crypto'
import type { Engine, Hooks } from '../../src/engine/engine.ts'
import type { BaseResult, InferenceRequest, InferenceResult } from '../../src/engine/request.ts'
import type { RequestOf, ResultOf, TaskName } from '../../src/engine/tasks.ts'
import { BusyError, RequestError } from '../../src/errors.ts'

export const CAPTION = 'two red apples on a white table'
/** The same as people read it in chats and on the page. */
export const ALT_TEXT = 'Two red apples on a white table.'
/** What the double says of a picture that it does not know (`unknown`). */
export const UNKNOWN = 'something i do not know'

/** The smallest PNG: 1 x 1, made by `convert -size 1x1 xc:red`. */
export const PNG = new Uint8Array(
  Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
    'base64',
  ),
)

export interface Double extends Engine {
  /** Every request, in order of arrival. */
  readonly asks: InferenceRequest[]
  /** How many runs ended because their signal was aborted. */
  readonly aborted: number
  readonly closed: boolean
  /** The next runs fail with it; undefined again lets them succeed. */
  fail(error: unknown): void
  /** Whether the next runs know a picture. Default: every picture. */
  knows(isKnown: (picture: string) => boolean): void
  /** Runs wait from now on, until `release`. */
  hold(): void
  release(): void
}

export function doubleEngine(pieceDelayMs = 0): Double {
  const asks: InferenceRequest[] = []
  const known = new Set<string>()
  let failure: unknown
  let isKnown = (_: string) => true
  let held = Promise.resolve()
  let release = () => {}
  let load = 0
  let aborted = 0
  let closed = false

  async function run(request: InferenceRequest, hooks: Hooks = {}): Promise<InferenceResult> {
    const { signal, onToken } = hooks
    await Promise.race([held, once(signal)])
    if (failure !== undefined) throw failure
    const picture = request.image
      ? createHash('sha256').update(request.image).digest('hex')
      : request.picture!
    if (!request.image && !known.has(picture)) {
      throw new RequestError(
        'picture_forgotten',
        'Expected a picture seen before but it is no longer remembered.',
      )
    }
    if (request.image && !isPng(request.image)) {
      throw new RequestError(
        'not_a_picture',
        'Expected a picture (JPEG, PNG, WebP, GIF, AVIF or TIFF) but got something else.',
      )
    }
    known.add(picture)
    const unknown = isKnown(picture) ? {} : ({ unknown: true } as const)
    const text = unknown.unknown
      ? UNKNOWN
      : request.question
        ? `answer ${(request.history?.length ?? 0) + 1} to ${request.question}`
        : CAPTION
    const pieces = text.split(/(?= )/)
    for (const piece of pieces) {
      if (pieceDelayMs > 0) await new Promise((resolve) => setTimeout(resolve, pieceDelayMs))
      if (signal?.aborted) {
        aborted++
        throw new BusyError('cancelled', 'The run was cancelled.')
      }
      onToken?.(piece)
    }
    const token_ids = pieces.map((_, index) => index)
    return {
      text,
      token_ids,
      finish_reason: 'stop',
      sequences: [{ text, token_ids, finish_reason: 'stop' }],
      prompt_tokens: 12,
      prompt: request.question ? `Question: ${request.question} Answer:` : '',
      timings_ms: { queue: 0, image: 3, pixels: 5, vision: 140, queries: 22, tokens: 61, total: 231 },
      model: 'double',
      picture,
      ...unknown,
    }
  }

  return {
    model: {
      name: 'double',
      precision: 'fp32',
      about: {
        sees: 'Emoji and clip art: one to six things, their colours and shapes. No photographs, no text.',
        nouns: [
          'apple',
          'bird',
          'boat',
          'cat',
          'dog',
          'fish',
          'flower',
          'house',
          'key',
          'leaf',
          'moon',
          'star',
          'tree',
        ],
        examples: ['What colour are they?', 'How many are there?', 'Is there a dog?'],
      },
    },
    asks,
    get pending() {
      return load
    },
    ready: true,
    get aborted() {
      return aborted
    },
    get closed() {
      return closed
    },
    async answer<N extends TaskName>(request: RequestOf<N>, hooks?: Hooks) {
      asks.push(request as InferenceRequest)
      load++
      return (await run(request as InferenceRequest, hooks).finally(
        () => load--,
      )) as BaseResult as ResultOf<N>
    },
    fail(error) {
      failure = error
    },
    knows(other) {
      isKnown = other
    },
    hold() {
      held = new Promise((resolve) => {
        release = resolve
      })
    },
    release: () => release(),
    async close() {
      closed = true
    },
  }
}

function isPng(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, 4)).toString('latin1') === '\x89PNG'
}

function once(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) resolve()
    signal?.addEventListener('abort', () => resolve(), { once: true })
  })
}

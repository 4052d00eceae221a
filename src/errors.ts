// Every error a person can meet, by whose turn it is to act. Goes in: nothing. Comes out: five classes and
// one table that says which HTTP status each has and whether trying again helps.
//
// A message says what was expected, what came, and what to do. It never holds a token, a picture or a question.

export type ErrorKind = 'ask' | 'busy' | 'upstream' | 'setup' | 'artifact'

abstract class GlimpseError extends Error {
  abstract readonly kind: ErrorKind
  /** Stable, machine-readable: `not_a_picture`, `deadline`. */
  readonly code: string

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** The one who asks can mend it: no picture, not a picture, a setting out of range. */
export class AskError extends GlimpseError {
  readonly kind = 'ask'
}

/** Too much at once, out of time, or cancelled: later it may work. */
export class BusyError extends GlimpseError {
  readonly kind = 'busy'
}

/** Another service did not do its part. */
export class UpstreamError extends GlimpseError {
  readonly kind = 'upstream'
  /** When the service said how long to wait. */
  readonly retryAfterMs?: number

  constructor(code: string, message: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(code, message, options)
    this.retryAfterMs = options.retryAfterMs
  }
}

/** The operator must change a setting or a file before anything works. */
export class SetupError extends GlimpseError {
  readonly kind = 'setup'
}

/** A checkpoint or an artifact is not what it must be. */
export class ArtifactError extends GlimpseError {
  readonly kind = 'artifact'
}

export type KnownError = AskError | BusyError | UpstreamError | SetupError | ArtifactError

interface Consequence {
  status: 400 | 413 | 415 | 422 | 429 | 499 | 500 | 502 | 503 | 504
  retry: boolean
}

const BY_KIND: Record<ErrorKind, Consequence> = {
  ask: { status: 400, retry: false },
  busy: { status: 503, retry: true },
  upstream: { status: 502, retry: true },
  setup: { status: 500, retry: false },
  artifact: { status: 500, retry: false },
}

const BY_CODE: Record<string, Consequence> = {
  not_a_picture: { status: 415, retry: false },
  damaged_picture: { status: 422, retry: false },
  picture_too_large: { status: 413, retry: false },
  busy: { status: 429, retry: true },
  deadline: { status: 504, retry: true },
  cancelled: { status: 499, retry: false },
}

export function isKnown(error: unknown): error is KnownError {
  return error instanceof GlimpseError
}

/** What an error means for the one who waits: HTTP status, and whether the same request may succeed later. */
export function consequenceOf(error: unknown): Consequence {
  if (!isKnown(error)) return { status: 500, retry: false }
  return BY_CODE[error.code] ?? BY_KIND[error.kind]
}

/** An error as it crosses from one thread to another. */
export interface WireError {
  kind: ErrorKind | 'bug'
  code: string
  message: string
  /** One line of what lay behind it. */
  cause?: string
  stack?: string
}

export function toWire(error: unknown): WireError {
  const { message, stack, cause } = error instanceof Error ? error : new Error(String(error))
  const why = cause instanceof Error ? cause.message : undefined
  if (isKnown(error)) return { kind: error.kind, code: error.code, message, cause: why }
  return { kind: 'bug', code: 'internal', message, cause: why, stack }
}

export function fromWire({ kind, code, message, cause, stack }: WireError): Error {
  const options = { cause: cause === undefined ? undefined : new Error(cause) }
  switch (kind) {
    case 'ask':
      return new AskError(code, message, options)
    case 'busy':
      return new BusyError(code, message, options)
    case 'upstream':
      return new UpstreamError(code, message, options)
    case 'setup':
      return new SetupError(code, message, options)
    case 'artifact':
      return new ArtifactError(code, message, options)
    case 'bug':
      return Object.assign(new Error(message, options), { stack })
  }
}

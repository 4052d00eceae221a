// Five classes of errors, by who must act, and the table of their codes with the HTTP status of each.
//
// A message says what happened, what was expected and what to do. It never contains a token, a picture or a question.

/** Code -> HTTP status, by kind. The class of a kind accepts only these codes. */
export const CODES = {
  request: {
    bad_ask: 400,
    bad_base64: 400,
    bad_field: 400,
    bad_form: 400,
    bad_http: 400,
    bad_json: 400,
    bad_message: 400,
    bad_name: 400,
    bad_settings: 400,
    bad_token: 401,
    bad_upload: 400,
    cannot_reply: 400,
    damaged_picture: 422,
    discord_refused: 400,
    foreign_host: 403,
    foreign_origin: 403,
    headers_too_large: 431,
    hub_refused: 400,
    key_taken: 422,
    message_too_large: 400,
    no_picture: 400,
    no_question: 400,
    no_token: 401,
    no_uploads: 404,
    not_a_checkpoint: 400,
    not_a_picture: 415,
    not_found: 404,
    not_on_hub: 400,
    picture_forbidden: 400,
    picture_forgotten: 400,
    picture_gone: 400,
    picture_too_large: 413,
    question_too_long: 400,
    refused_elsewhere: 400,
    too_many_words: 400,
    too_slow: 408,
    upload_expired: 410,
    upload_missing: 404,
    wrong_method: 405,
    wrong_type: 415,
  },
  busy: {
    busy: 429,
    cancelled: 499,
    closing: 503,
    deadline: 504,
    held: 503,
    loading: 503,
    model_down: 503,
    out_of_memory: 503,
    restarting: 503,
    stopping: 503,
  },
  upstream: {
    bad_answer: 502,
    bad_checksum: 502,
    discord_busy: 502,
    discord_early: 502,
    discord_failed: 502,
    discord_gateway: 502,
    discord_payload: 502,
    discord_unreachable: 502,
    engine_failed: 502,
    hub_unreachable: 502,
    model_unreachable: 502,
    model_replaced: 502,
    picture_unreachable: 502,
    push_failed: 502,
    queue_failed: 502,
    slack_busy: 502,
    slack_failed: 502,
    state_contended: 502,
    state_failed: 502,
    uploads_failed: 502,
  },
  setup: {
    bad_endpoint: 500,
    bad_engine: 500,
    bad_place: 500,
    bad_queue: 500,
    bad_scenes: 500,
    bad_settings: 500,
    bad_slack_token: 500,
    bucket_refused: 500,
    destination_taken: 500,
    discord_gateway: 500,
    discord_intents: 500,
    discord_public_key: 500,
    discord_token: 500,
    disk_full: 500,
    disk_refused: 500,
    engine_refused: 500,
    graph_refused: 500,
    host_unusable: 500,
    no_api_token: 500,
    no_bucket: 500,
    no_chat: 500,
    no_discord_key: 500,
    no_discord_token: 500,
    no_model: 500,
    no_name: 500,
    no_queue: 500,
    no_scenes: 500,
    no_secrets: 500,
    no_slack_connection: 500,
    no_slack_secret: 500,
    no_slack_token: 500,
    no_state: 500,
    no_weights: 500,
    not_laid_out: 500,
    port_forbidden: 500,
    port_taken: 500,
    provider_missing: 500,
    worker_thread: 500,
    wrong_region: 500,
  },
  artifact: {
    answers_nothing: 500,
    bad_config: 500,
    bad_preprocessor_config: 500,
    bad_reference: 500,
    bad_tokenizer: 500,
    bad_weights: 500,
    damaged_artifact: 500,
    graph_unreadable: 500,
    no_artifact: 500,
    no_checkpoint: 500,
    no_preprocessor: 500,
    no_tokenizer: 500,
    no_weights: 500,
    other_checkpoint: 500,
    other_format: 500,
    other_onnxruntime: 500,
    unknown_architecture: 500,
    unreadable_file: 500,
    wrong_tensors: 500,
  },
} as const

export type ErrorKind = keyof typeof CODES
export type CodeOf<K extends ErrorKind> = keyof (typeof CODES)[K]
export type ErrorCode = { [K in ErrorKind]: CodeOf<K> }[ErrorKind]

abstract class BaseError<K extends ErrorKind> extends Error {
  abstract readonly kind: K
  /** Stable, machine-readable: `not_a_picture`, `deadline`. */
  readonly code: CodeOf<K>

  constructor(code: CodeOf<K>, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** The caller must change the request: no picture, not a picture, a setting out of range. */
export class RequestError extends BaseError<'request'> {
  readonly kind = 'request'
}

/** Overload, a deadline or a cancellation: the same request may succeed later. */
export class BusyError extends BaseError<'busy'> {
  readonly kind = 'busy'
}

export function cancelled(message = 'The request was cancelled by its caller.'): BusyError {
  return new BusyError('cancelled', message)
}

/** Another service failed. */
export class UpstreamError extends BaseError<'upstream'> {
  readonly kind = 'upstream'
  /** How long to wait, if the service says so. */
  readonly retryAfterMs?: number

  constructor(
    code: CodeOf<'upstream'>,
    message: string,
    options: { cause?: unknown; retryAfterMs?: number } = {},
  ) {
    super(code, message, options)
    this.retryAfterMs = options.retryAfterMs
  }
}

/** The operator must change a setting or a file. */
export class SetupError extends BaseError<'setup'> {
  readonly kind = 'setup'
}

/** A checkpoint or an artifact is unusable. */
export class ArtifactError extends BaseError<'artifact'> {
  readonly kind = 'artifact'
}

export type GlimpseError = RequestError | BusyError | UpstreamError | SetupError | ArtifactError

export function isGlimpseError(error: unknown): error is GlimpseError {
  return error instanceof BaseError
}

/** Whether `code`, which another process or machine sent, is a code of this kind. */
export function isCode<K extends ErrorKind>(kind: K, code: string): code is CodeOf<K> & string {
  return Object.hasOwn(CODES[kind], code)
}

const RETRYABLE: readonly ErrorKind[] = ['busy', 'upstream']
/** The status of a request whose caller has disconnected. */
const CALLER_GONE = 499

/** The HTTP status of an error, and whether the same request may succeed later. */
export function httpMeaningOf(error: unknown): { status: number; retry: boolean } {
  if (!isGlimpseError(error)) return { status: 500, retry: false }
  const status = (CODES[error.kind] as Record<string, number>)[error.code]!
  return { status, retry: RETRYABLE.includes(error.kind) && status !== CALLER_GONE }
}

/** An error in serializable form, for the channel between the server process and the model process. */
export interface SerializedError {
  kind: ErrorKind | 'bug'
  code: string
  message: string
  /** Message of the cause. */
  cause?: string
  stack?: string
}

export function serializeError(error: unknown): SerializedError {
  const { message, stack, cause } = error instanceof Error ? error : new Error(String(error))
  const why = cause instanceof Error ? cause.message : undefined
  if (isGlimpseError(error)) return { kind: error.kind, code: error.code, message, cause: why }
  return { kind: 'bug', code: 'internal', message, cause: why, stack }
}

const CLASSES = {
  request: RequestError,
  busy: BusyError,
  upstream: UpstreamError,
  setup: SetupError,
  artifact: ArtifactError,
}

/** An error with a code that its kind does not have becomes a bug that names both. */
export function deserializeError({ kind, code, message, cause, stack }: SerializedError): Error {
  const options = { cause: cause === undefined ? undefined : new Error(cause) }
  if (kind === 'bug') return Object.assign(new Error(message, options), { stack })
  if (isCode(kind, code)) return new CLASSES[kind](code as never, message, options)
  return new Error(`Expected a code of errors.ts for ${kind} but got ${code}: ${message}`, options)
}

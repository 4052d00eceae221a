// Five classes of errors, by who must act, and the table of their codes with the HTTP status of each.
//
// A message says what happened, what was expected and what to do. It never contains a token, a picture or a question.

/** The words of texts that separate them by spaces. */
type Words<S extends string> = S extends `${infer First} ${infer Rest}` ? First | Words<Rest> : S

/** One HTTP status for all codes of some lines. */
function codes<S extends string>(status: number, ...lines: S[]): Record<Words<S>, number> {
  const names = lines.flatMap((line) => line.split(' ') as Words<S>[])
  return Object.fromEntries(names.map((name) => [name, status])) as Record<Words<S>, number>
}

/** Code -> HTTP status, by kind. The class of a kind accepts only these codes. */
export const CODES = {
  request: {
    ...codes(
      400,
      'bad_ask bad_base64 bad_field bad_form bad_http bad_json bad_message bad_name bad_settings',
      'bad_upload cannot_reply discord_refused hub_refused message_too_large no_picture no_question',
      'not_a_checkpoint not_on_hub picture_forbidden picture_forgotten picture_gone question_too_long',
      'refused_elsewhere text_too_long too_many_words',
    ),
    ...codes(401, 'bad_token no_token'),
    ...codes(403, 'foreign_host foreign_origin'),
    ...codes(404, 'no_collection no_uploads not_found not_indexed upload_missing'),
    wrong_method: 405,
    too_slow: 408,
    upload_expired: 410,
    picture_too_large: 413,
    ...codes(415, 'not_a_picture wrong_type'),
    ...codes(422, 'cannot_write damaged_picture key_taken no_task'),
    headers_too_large: 431,
  },
  busy: {
    busy: 429,
    cancelled: 499,
    ...codes(503, 'closing held loading model_down out_of_memory restarting stopping waiting'),
    deadline: 504,
  },
  upstream: codes(
    502,
    'bad_answer bad_checksum discord_busy discord_early discord_failed discord_gateway',
    'discord_payload discord_unreachable engine_failed hub_unreachable index_failed model_unreachable',
    'model_replaced picture_unreachable push_failed queue_failed slack_busy slack_failed',
    'state_contended state_failed uploads_failed',
  ),
  setup: codes(
    500,
    'bad_endpoint bad_engine bad_place bad_queue bad_scenes bad_settings bad_slack_token',
    'bucket_refused destination_taken discord_gateway discord_intents discord_public_key',
    'discord_token disk_full disk_refused engine_refused graph_refused host_unusable no_api_token',
    'no_bucket no_chat no_discord_key no_discord_token no_folder no_index no_library no_matching no_model no_name',
    'no_package no_queue no_scenes no_search_library no_secrets no_slack_connection no_slack_secret no_slack_token',
    'no_state no_weights not_laid_out other_model',
    'port_forbidden port_taken provider_missing worker_thread wrong_region',
  ),
  artifact: codes(
    500,
    'answers_nothing bad_config cannot_join bad_preprocessor_config bad_reference bad_tokenizer bad_weights',
    'damaged_artifact graph_unreadable no_artifact no_checkpoint no_preprocessor no_tokenizer',
    'no_weights other_checkpoint other_format other_onnxruntime unknown_architecture unreadable_file',
    'wrong_tensors',
  ),
}

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

/** The code of an error, for replies, logs and metrics: `internal` for a bug. */
export function codeOf(error: unknown): ErrorCode | 'internal' {
  return isGlimpseError(error) ? error.code : 'internal'
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

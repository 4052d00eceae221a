// A failed request to S3 -> what to do next: retry (TransientError), read the object's state (S3Error), or let the operator
// fix it (SetupError). Source: S3's API reference, "Error responses".

import { S3ServiceException } from '@aws-sdk/client-s3'
import { type CodeOf, isGlimpseError, SetupError, UpstreamError } from '../errors.ts'
import { type RetryOptions, retryAfterMs, TransientError } from '../retry.ts'

/** What a bucket is used for, for its error messages. */
export interface Purpose extends Omit<RetryOptions, 'endpoint'> {
  /** Name of the setting that holds the address. */
  setting: string
  /** Permissions that the role needs. Default: read, write, delete and list. */
  needs?: string
  /** Code of the UpstreamError when S3 stays unavailable. */
  code: CodeOf<'upstream'>
}

/** A condition of the request is not met: the object is missing, has another version, or has fewer bytes. */
export class S3Error extends UpstreamError {
  readonly reason: 'missing' | 'changed' | 'range'

  constructor(reason: S3Error['reason'], code: CodeOf<'upstream'>, message: string, cause: unknown) {
    super(code, message, { cause })
    this.reason = reason
  }
}

const NEEDS = 'do s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there'

/** For `catch`: undefined instead of these S3Errors. */
export function unless(...reasons: S3Error['reason'][]): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof S3Error && reasons.includes(error.reason)) return undefined
    throw error
  }
}

export function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
}

/** After RequestTimeTooSkewed the SDK uses S3's clock. 307: not all of S3's name servers know a new bucket yet. */
function isTemporary(status: number, name: string): boolean {
  if (name === 'RequestTimeout' || name === 'RequestTimeTooSkewed') return true
  return [200, 307, 408, 409, 429].includes(status) || (status >= 500 && status !== 501)
}

/** The TransientError, S3Error or SetupError of an error of the SDK. */
export function toGlimpseError(
  error: unknown,
  place: string,
  { setting, needs = NEEDS, code }: Purpose,
): unknown {
  if (!(error instanceof Error) || isGlimpseError(error) || error instanceof TransientError) return error
  const setup = (code: CodeOf<'setup'>, why: string, todo: string) =>
    new SetupError(code, `Expected to use ${place} but ${why}. ${todo}`, { cause: error })
  const refused = (why: string) =>
    setup(
      'bucket_refused',
      why,
      `Check the credentials, AWS_REGION, the bucket's name in ${setting}, and that the role may ${needs}.`,
    )
  if (!(error instanceof S3ServiceException)) {
    const text = `${error.name} ${error.message}`.trim()
    // Thrown before anything is sent.
    if (error.name === 'CredentialsProviderError' || text.includes('Region is missing')) return refused(text)
    const reason = error.name === 'TimeoutError' ? 'stall' : /checksum/i.test(text) ? 'checksum' : 'reset'
    return new TransientError(text, { cause: error, reason })
  }
  const { name } = error
  const status = statusOf(error) ?? 0
  const headers: Record<string, string> = error.$response?.headers ?? {}
  if (isTemporary(status, name)) {
    return new TransientError(`it answered ${status} ${name}`, {
      waitMs: retryAfterMs(headers['retry-after']),
      cause: error,
      reason: status === 503 || status === 429 ? 'slow_down' : 'server_error',
    })
  }
  const region = headers['x-amz-bucket-region'] ?? (error as { Region?: string }).Region
  const answer = `S3 answered ${status} ${name}${region === undefined ? '' : ` (the bucket is in ${region})`}`
  const refusal = (trouble: S3Error['reason']) =>
    new S3Error(trouble, code, `Expected to use ${place} but ${answer}. Try again.`, error)
  if (status === 301 || name === 'AuthorizationHeaderMalformed') {
    const todo = `Set AWS_REGION to ${region ?? "the bucket's region"}, or name another bucket in ${setting}.`
    return setup('wrong_region', answer, todo)
  }
  if (name === 'NoSuchKey' || name === 'NoSuchUpload') return refusal('missing')
  // NotFound: the answer to HEAD of a bucket.
  if (name === 'NoSuchBucket' || name === 'NotFound') {
    const todo = `Check the bucket's name in ${setting}, and AWS_REGION; or make it: aws s3 mb s3://<bucket>`
    return setup('no_bucket', `there is no such bucket (${answer})`, todo)
  }
  if (status === 412) return refusal('changed')
  if (status === 416) return refusal('range')
  return refused(answer)
}

// An answer of S3 that is no success, or none at all -> what to do next: try again (TransientError), look at what is there
// (S3Error), or ask the operator (SetupError). S3 lists them in its API reference, "Error responses".

import { S3ServiceException } from '@aws-sdk/client-s3'
import { type CodeOf, isGlimpseError, SetupError, UpstreamError } from '../errors.ts'
import { type RetryOptions, retryAfterMs, TransientError } from '../retry.ts'

/** What a bucket is used for, which its errors say. */
export interface Purpose extends Omit<RetryOptions, 'endpoint'> {
  /** Name of the setting that holds the place. */
  setting: string
  /** What the role must be allowed to do. Default: read, write, delete and list. */
  needs?: string
  /** Code of the UpstreamError when S3 stays unavailable. */
  code: CodeOf<'upstream'>
}

/** S3 said no to what was asked, not to us: nothing is there, another version is, or fewer bytes are. */
export class S3Error extends UpstreamError {
  readonly reason: 'missing' | 'changed' | 'range'

  constructor(reason: S3Error['reason'], code: CodeOf<'upstream'>, message: string, cause: unknown) {
    super(code, message, { cause })
    this.reason = reason
  }
}

const NEEDS = 'do s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket there'

/** Makes these refusals undefined. */
export function unless(...reasons: S3Error['reason'][]): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof S3Error && reasons.includes(error.reason)) return undefined
    throw error
  }
}

export function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined
}

/** RequestTimeTooSkewed: the SDK has taken S3's clock by now. 307: a new bucket whose name is not known everywhere yet. */
function mayPass(status: number, name: string): boolean {
  if (name === 'RequestTimeout' || name === 'RequestTimeTooSkewed') return true
  return [200, 307, 408, 409, 429].includes(status) || (status >= 500 && status !== 501)
}

/** An answer of S3, or none, as TransientError, S3Error or SetupError. */
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
    const word = `${error.name} ${error.message}`.trim()
    // No credentials, no region: thrown before anything is sent.
    if (error.name === 'CredentialsProviderError' || word.includes('Region is missing')) return refused(word)
    const reason = error.name === 'TimeoutError' ? 'stall' : /checksum/i.test(word) ? 'checksum' : 'reset'
    return new TransientError(word, { cause: error, reason })
  }
  const { name } = error
  const status = statusOf(error) ?? 0
  const headers: Record<string, string> = error.$response?.headers ?? {}
  if (mayPass(status, name)) {
    return new TransientError(`it answered ${status} ${name}`, {
      waitMs: retryAfterMs(headers['retry-after']),
      cause: error,
      reason: status === 503 || status === 429 ? 'slow_down' : 'server_error',
    })
  }
  const region = headers['x-amz-bucket-region'] ?? (error as { Region?: string }).Region
  const word = `S3 answered ${status} ${name}${region === undefined ? '' : ` (the bucket is in ${region})`}`
  const refusal = (trouble: S3Error['reason']) =>
    new S3Error(trouble, code, `Expected to use ${place} but ${word}. Try again.`, error)
  if (status === 301 || name === 'AuthorizationHeaderMalformed') {
    const todo = `Set AWS_REGION to ${region ?? "the bucket's region"}, or name another bucket in ${setting}.`
    return setup('wrong_region', word, todo)
  }
  if (name === 'NoSuchKey' || name === 'NoSuchUpload') return refusal('missing')
  // NotFound is the answer to HEAD; `head` has looked whether the bucket is there.
  if (name === 'NoSuchBucket' || name === 'NotFound') {
    const todo = `Check the bucket's name in ${setting}, and AWS_REGION; or make it: aws s3 mb s3://<bucket>`
    return setup('no_bucket', `there is no such bucket (${word})`, todo)
  }
  if (status === 412) return refusal('changed')
  if (status === 416) return refusal('range')
  return refused(word)
}

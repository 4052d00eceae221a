// A Glimpse server on an asynchronous SageMaker endpoint as an engine: the request goes to S3, the endpoint gets its address,
// and the result or the failure is read from S3. GLIMPSE_ENGINE=sagemaker://endpoint?bucket=name&prefix=sagemaker
//
// An endpoint with zero instances keeps requests until one has started, which takes minutes; only the deadline bounds that
// wait. Every object of a request is removed at its end; what a crash leaves is for the bucket's lifecycle rule.
//
// With `&notice=sns` a request of a job (a question of a queue) is sent and ends with BusyError `waiting`. When the endpoint
// has sent its notice the question is delivered again, and the same request finds its result: see waiting.ts.
// Contract: docs.aws.amazon.com/sagemaker, "Invoke an Asynchronous Endpoint"; src/serve answers POST /invocations.

import { randomUUID } from 'node:crypto'
import {
  InvokeEndpointAsyncCommand,
  SageMakerRuntimeClient,
  type SageMakerRuntimeClientConfig,
} from '@aws-sdk/client-sagemaker-runtime'
import type { Engine } from '../engine/engine.ts'
import type { BaseRequest, BaseResult } from '../engine/request.ts'
import { BusyError, isGlimpseError, RequestError, SetupError } from '../errors.ts'
import { type Bucket, type BucketOptions, openBucket } from '../store/bucket.ts'
import { deadlineError, decodeError, decodeReply, encodeRequest, engineFailed } from './codec.ts'
import type { Deadline } from './deadline.ts'
import { type Endpoint, PURPOSE } from './endpoint.ts'
import { remoteEngine } from './engine.ts'
import { openWaiting, requestId } from './waiting.ts'

export interface SageMakerOptions {
  /** For requests without a deadline of their own. */
  deadlineMs: number
  s3?: BucketOptions
  client?: SageMakerRuntimeClientConfig
  /** Wait between the first two reads of the result. Default 500; each wait is 1.5 times the one before, up to 5 s. */
  firstWaitMs?: number
}

const FIRST_WAIT_MS = 500
/** Two requests each time. */
const LONGEST_WAIT_MS = 5_000
const SLOWER = 1.5
export function openSageMakerEngine(endpoint: Endpoint, options: SageMakerOptions): Engine {
  const { deadlineMs, firstWaitMs = FIRST_WAIT_MS } = options
  const client = new SageMakerRuntimeClient(options.client ?? {})
  const buckets = new Map<string, Bucket>()
  /** `s3://bucket/key` */
  const objectAt = (address: string) => {
    const [, location = address, key = ''] = /^(s3:\/\/[^/]+)\/(.+)$/.exec(address) ?? []
    const bucket = buckets.get(location) ?? openBucket(location, PURPOSE, options.s3)
    buckets.set(location, bucket)
    return { bucket, key }
  }
  /** Undefined while there is no such object. */
  const readText = async (address: string, signal: AbortSignal) => {
    const { bucket, key } = objectAt(address)
    const found = await bucket.read(key, undefined, signal)
    return found && new TextDecoder().decode(found.bytes)
  }

  const invoke = async (input: string, id: string, deadline: Deadline, waitMs = deadline.remainingMs()) => {
    const seconds = Math.ceil(waitMs / 1_000)
    const command = new InvokeEndpointAsyncCommand({
      EndpointName: endpoint.name,
      InputLocation: input,
      ContentType: 'application/json',
      Accept: 'application/json',
      InferenceId: id,
      // The caller does not wait any longer. InvokeEndpointAsync allows 60 to 21,600 s, and 1 to 3,600 s.
      RequestTTLSeconds: Math.min(21_600, Math.max(60, seconds)),
      InvocationTimeoutSeconds: Math.min(3_600, Math.max(1, seconds)),
    })
    const { OutputLocation, FailureLocation } = await client.send(command, { abortSignal: deadline.signal })
    if (!OutputLocation) throw engineFailed('SageMaker named no address of the result')
    return { output: OutputLocation, failure: FailureLocation }
  }

  const decodeFailure = (failed: string, request: BaseRequest) => {
    // Received client error (415) from primary with message "..."
    const status = Number(/error \((\d{3})\)/.exec(failed)?.[1] ?? 500)
    return decodeError(status, failed, request)
  }

  const requests = openWaiting(endpoint, options.s3)
  /** @throws BusyError `waiting` until the endpoint has answered */
  const sendForJob = async (request: BaseRequest, job: string, deadline: Deadline): Promise<BaseResult> => {
    const body = encodeRequest(request)
    const id = requestId(job, body)
    const asked = await requests.read(id, deadline.signal)
    if (asked) {
      const reply = await readText(asked.output, deadline.signal)
      if (reply !== undefined) return decodeReply(reply, request)
      const failed = asked.failure === undefined ? undefined : await readText(asked.failure, deadline.signal)
      if (failed !== undefined) throw decodeFailure(failed, request)
      if (Date.now() > asked.until) throw deadlineError()
    } else {
      const input = `s3://${endpoint.bucket}/${endpoint.prefix}/in/${id}.json`
      const { bucket, key } = objectAt(input)
      await bucket.put(key, body, { type: 'application/json', signal: deadline.signal })
      const places = await invoke(input, id, deadline, deadlineMs)
      await requests.note(id, { ...places, until: Date.now() + deadlineMs }, deadline.signal)
    }
    throw new BusyError(
      'waiting',
      'The endpoint has the request. The question is delivered again after its notice.',
    )
  }

  const send = async (request: BaseRequest, deadline: Deadline, job?: string): Promise<BaseResult> => {
    // A request by the picture's sha256 would wait in the endpoint's queue, and another instance may have cached the picture.
    if (!request.image) {
      throw new RequestError(
        'picture_forgotten',
        'Expected the bytes of the picture: a SageMaker endpoint does not keep pictures. Send them again.',
      )
    }
    if (endpoint.hasNotice && job !== undefined) return await sendForJob(request, job, deadline)
    const id = randomUUID()
    const input = `s3://${endpoint.bucket}/${endpoint.prefix}/in/${id}.json`
    const addresses = [input]
    try {
      const { bucket, key } = objectAt(input)
      await bucket.put(key, encodeRequest(request), { type: 'application/json', signal: deadline.signal })
      const { output, failure } = await invoke(input, id, deadline)
      addresses.push(output, ...(failure === undefined ? [] : [failure]))
      for (let waitMs = firstWaitMs; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * SLOWER)) {
        deadline.throwIfEnded()
        const reply = await readText(output, deadline.signal)
        if (reply !== undefined) return decodeReply(reply, request)
        const failed = failure === undefined ? undefined : await readText(failure, deadline.signal)
        if (failed !== undefined) throw decodeFailure(failed, request)
        await deadline.wait(waitMs)
      }
    } finally {
      // What is written later, or cannot be removed now, is for the lifecycle rule.
      const removals = addresses.map(async (address) => {
        const { bucket, key } = objectAt(address)
        await bucket.remove(key)
      })
      await Promise.allSettled(removals)
    }
  }

  const sent = (request: BaseRequest, deadline: Deadline, job?: string) =>
    send(request, deadline, job).catch((error: unknown) => {
      deadline.throwIfEnded()
      throw isGlimpseError(error) ? error : toGlimpseError(error)
    })
  const engine = remoteEngine(`SageMaker endpoint ${endpoint.name}`, deadlineMs, sent)
  // With notices no caller waits for the endpoint.
  return endpoint.hasNotice ? Object.assign(engine, { maxWaitMs: undefined }) : engine
}

/** Of an error of the SDK. */
function toGlimpseError(error: unknown): Error {
  const name = error instanceof Error ? error.name : ''
  if (/AccessDenied|ValidationError|NoSuchBucket|NotFound/.test(name)) {
    return new SetupError(
      'engine_refused',
      `SageMaker refused the request: ${name}. Check that the endpoint and the bucket in GLIMPSE_ENGINE exist, and the permissions of the role.`,
      { cause: error },
    )
  }
  return engineFailed(`AWS answered ${name || 'nothing'}`, error)
}

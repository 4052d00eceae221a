// A Glimpse on a SageMaker asynchronous endpoint as an engine: the ask goes to S3 and is named to the endpoint; the reply,
// or the failure, is fetched from S3 once it is there. GLIMPSE_ENGINE=sagemaker://endpoint?bucket=name&prefix=sagemaker
//
// An endpoint at zero instances keeps what it is asked until one has come up, which takes minutes: the deadline, not this
// code, says how long that is waited for. Whatever comes of it, nothing of the ask stays in S3; what is left by a crash is
// for the bucket's lifecycle rule.
// Contract: docs.aws.amazon.com/sagemaker, "Invoke an Asynchronous Endpoint"; src/serve answers POST /invocations.

import { randomUUID } from 'node:crypto'
import {
  InvokeEndpointAsyncCommand,
  SageMakerRuntimeClient,
  type SageMakerRuntimeClientConfig,
} from '@aws-sdk/client-sagemaker-runtime'
import type { Engine } from '../engine/engine.ts'
import type { InferenceRequest, InferenceResult } from '../engine/request.ts'
import { isGlimpseError, RequestError, SetupError } from '../errors.ts'
import { decodeError, decodeReply, encodeRequest, engineFailed } from './codec.ts'
import type { Deadline } from './deadline.ts'
import { remoteEngine } from './engine.ts'
import { type Objects, openObjects } from './s3-objects.ts'

export interface Endpoint {
  name: string
  bucket: string
  /** Before each key of ours: `sagemaker`. */
  prefix: string
}

export interface SageMakerOptions {
  deadlineMs: number
  objects?: Objects
  client?: SageMakerRuntimeClientConfig
  /** Between the first two looks for the reply. */
  firstWaitMs?: number
}

const FIRST_WAIT_MS = 500
/** Two requests a look: an hour of waiting costs a third of a cent. */
const LONGEST_WAIT_MS = 5_000
const SLOWER = 1.5
/** What InvokeEndpointAsync allows. */
const TTL_S = { min: 60, max: 21_600 }
const TAKES_S = { min: 1, max: 3_600 }

/** `sagemaker://endpoint?bucket=name&prefix=folder`. @throws SetupError `bad_engine` */
export function parseEndpoint(address: string): Endpoint {
  const [, name, query] = /^sagemaker:\/\/([A-Za-z0-9-]+)\/?\?(.+)$/.exec(address) ?? []
  const bucket = new URLSearchParams(query).get('bucket')
  if (name === undefined || bucket === null) {
    throw new SetupError(
      'bad_engine',
      'Expected GLIMPSE_ENGINE like sagemaker://endpoint?bucket=name&prefix=sagemaker but got another form.',
    )
  }
  const prefix = (new URLSearchParams(query).get('prefix') ?? 'sagemaker').replace(/^\/+|\/+$/g, '')
  return { name, bucket, prefix }
}

export function openSageMakerEngine(endpoint: Endpoint, options: SageMakerOptions): Engine {
  const { deadlineMs, firstWaitMs = FIRST_WAIT_MS } = options
  const objects = options.objects ?? openObjects()
  const client = new SageMakerRuntimeClient(options.client ?? {})

  const invoke = async (input: string, id: string, deadline: Deadline) => {
    const seconds = Math.ceil(deadline.remainingMs() / 1_000)
    const command = new InvokeEndpointAsyncCommand({
      EndpointName: endpoint.name,
      InputLocation: input,
      ContentType: 'application/json',
      Accept: 'application/json',
      InferenceId: id,
      // Nobody waits for it after that.
      RequestTTLSeconds: clamp(seconds, TTL_S),
      InvocationTimeoutSeconds: clamp(seconds, TAKES_S),
    })
    const { OutputLocation, FailureLocation } = await client.send(command, { abortSignal: deadline.signal })
    if (!OutputLocation) throw engineFailed('SageMaker named no place for the reply')
    return { output: OutputLocation, failure: FailureLocation }
  }

  const ask = async (request: InferenceRequest, deadline: Deadline): Promise<InferenceResult> => {
    // To ask for a picture by its name would cost a turn in the queue, and another instance may be the one that saw it.
    if (!request.image) {
      throw new RequestError(
        'picture_forgotten',
        'Expected the bytes of a picture: none is remembered here. Send them.',
      )
    }
    const id = randomUUID()
    const input = `s3://${endpoint.bucket}/${endpoint.prefix}/in/${id}.json`
    const places = [input]
    try {
      await objects.put(input, encodeRequest(request), deadline.signal)
      const { output, failure } = await invoke(input, id, deadline)
      places.push(output, ...(failure === undefined ? [] : [failure]))
      for (let waitMs = firstWaitMs; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * SLOWER)) {
        deadline.throwIfEnded()
        const reply = await objects.get(output, deadline.signal)
        if (reply !== undefined) return decodeReply(reply)
        const failed = failure === undefined ? undefined : await objects.get(failure, deadline.signal)
        if (failed !== undefined) throw decodeError(statusIn(failed), failed, request)
        await deadline.wait(waitMs)
      }
    } finally {
      // Best effort: one that is not there yet, or cannot be removed now, goes with the lifecycle rule.
      await Promise.allSettled(places.map((place) => objects.remove(place)))
    }
  }

  return remoteEngine(`SageMaker endpoint ${endpoint.name}`, deadlineMs, (request, deadline) =>
    ask(request, deadline).catch((error: unknown) => {
      deadline.throwIfEnded()
      throw isGlimpseError(error) ? error : toGlimpseError(error)
    }),
  )
}

/** `Received client error (415) from primary with message "..."`; anything else is the endpoint's own failure. */
function statusIn(failure: string): number {
  return Number(/error \((\d{3})\)/.exec(failure)?.[1] ?? 500)
}

/** Of the SDK: a role that may not, an endpoint that is not there, a service that failed. */
function toGlimpseError(error: unknown): Error {
  const name = error instanceof Error ? error.name : ''
  if (/AccessDenied|ValidationError|NoSuchBucket|NotFound/.test(name)) {
    return new SetupError(
      'engine_refused',
      `Expected the SageMaker endpoint and its bucket to be there and usable but: ${name}. Check GLIMPSE_ENGINE and the role's permissions.`,
      { cause: error },
    )
  }
  return engineFailed(`AWS said ${name || 'nothing'}`, error)
}

function clamp(value: number, { min, max }: { min: number; max: number }): number {
  return Math.min(max, Math.max(min, value))
}

// Requests to an asynchronous SageMaker endpoint whose caller does not wait: what was asked for a job, and which queue message
// to show when all of it is done. The endpoint's notice (SNS) names a request; the job's message is delivered again.
//
//   <prefix>/asked/<job>-<request>.json   where the endpoint puts the result or the failure
//   <prefix>/waiting/<job>.json           receipt handle of the hidden message
//
// Invariant: a result is written before its notice. `hold` and `messageOf` both look at all results: the later of them sees that
// all is done. `hold` comes before the message is hidden for long, so that a death in between leaves neither a notice without a
// message nor a message without a notice.

import { z } from 'zod'
import { sha256Hex } from '../hash.ts'
import { type Bucket, type BucketOptions, openBucket } from '../store/bucket.ts'
import { type Endpoint, PURPOSE } from './endpoint.ts'

const askedSchema = z.object({
  /** Addresses: `s3://bucket/key`. */
  output: z.string(),
  failure: z.string().optional(),
  /** When to give up, in milliseconds since 1970. */
  until: z.number(),
})
export type Asked = z.infer<typeof askedSchema>
const waitingSchema = z.object({ receiptHandle: z.string() })

/** Letters of a hash in a request's id: SageMaker takes 64 characters. */
const JOB_LETTERS = 24
const REQUEST_LETTERS = 32

/** The part of a job in the ids of its requests. */
function jobPart(job: string): string {
  return sha256Hex(job).slice(0, JOB_LETTERS)
}

/** The same for every delivery of a question. @param body of the request */
export function requestId(job: string, body: string): string {
  return `${jobPart(job)}-${sha256Hex(body).slice(0, REQUEST_LETTERS)}`
}

export function openWaiting(
  { bucket: name, prefix }: Pick<Endpoint, 'bucket' | 'prefix'>,
  options: BucketOptions = {},
) {
  const location = `s3://${name}`
  let opened: Bucket | undefined
  const bucket = () => {
    opened ??= openBucket(location, PURPOSE, options)
    return opened
  }
  const keyOf = (address: string) => address.slice(location.length + 1)
  const askedKey = (id: string) => `${prefix}/asked/${id}.json`
  const waitingKey = (part: string) => `${prefix}/waiting/${part}.json`
  const readJson = async <T>(key: string, schema: z.ZodType<T>, signal?: AbortSignal) => {
    const found = await bucket().read(key, undefined, signal)
    return found && schema.parse(JSON.parse(new TextDecoder().decode(found.bytes)))
  }
  const has = async (address: string | undefined) =>
    address !== undefined && (await bucket().head(keyOf(address))) !== undefined
  const keysOf = (part: string) => bucket().list(`${prefix}/asked/${part}-`)
  const isDone = async (part: string) => {
    for (const key of await keysOf(part)) {
      const asked = await readJson(key, askedSchema)
      if (asked && !(await has(asked.output)) && !(await has(asked.failure))) return false
    }
    return true
  }
  return {
    read: (id: string, signal?: AbortSignal) => readJson(askedKey(id), askedSchema, signal),
    note: async (id: string, asked: Asked, signal?: AbortSignal) =>
      void (await bucket().put(askedKey(id), JSON.stringify(asked), { type: 'application/json', signal })),
    /**
     * Notes the message of a job, which notices show from now on. Returns true when all that was asked for the job is done
     * already: then no notice may come any more, and the caller shows the message.
     */
    async hold(job: string, receiptHandle: string): Promise<boolean> {
      await bucket().put(waitingKey(jobPart(job)), JSON.stringify({ receiptHandle }), {
        type: 'application/json',
      })
      return await isDone(jobPart(job))
    },
    /** Whether the endpoint has answered all that was asked for the job. */
    isDone: (job: string) => isDone(jobPart(job)),
    /** On a notice about a request: the receipt handle of its job's message, when all requests of the job are done. */
    async messageOf(id: string): Promise<string | undefined> {
      const part = id.slice(0, JOB_LETTERS)
      const waiting = await readJson(waitingKey(part), waitingSchema)
      return waiting && (await isDone(part)) ? waiting.receiptHandle : undefined
    },
    /** Removes all objects of a job that is answered. What a failure leaves is for the bucket's lifecycle rule. */
    async clear(job: string): Promise<void> {
      const part = jobPart(job)
      const keys = await keysOf(part)
      const asked = await Promise.all(keys.map((key) => readJson(key, askedSchema)))
      const results = asked.flatMap((each) => (each ? [each.output, each.failure] : []))
      const inputs = keys.map((key) => key.replace(`${prefix}/asked/`, `${prefix}/in/`))
      const all = [
        ...keys,
        ...inputs,
        ...results.flatMap((each) => (each ? [keyOf(each)] : [])),
        waitingKey(part),
      ]
      if (keys.length > 0) await Promise.all(all.map((key) => bucket().remove(key)))
    },
  }
}
export type Waiting = ReturnType<typeof openWaiting>

// A SageMaker endpoint for asynchronous inference: named an object of the bucket, it gives the object to the container and
// leaves what that says in the bucket.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { openSageMakerEngine } from '../../src/remote/sagemaker.ts'
import type { createApp } from '../../src/serve/routes.ts'
import type { S3Double } from '../store/s3-double.ts'

export interface EndpointDouble {
  url: string
  invoked: { path: string; headers: Record<string, unknown> }[]
  /** While asleep nothing is answered; what was asked waits. */
  asleep: boolean
  wake(): Promise<void>
  /** Answers the request that has waited longest; the others go on waiting. */
  wakeOne(): Promise<void>
  close(): void
}

/** The endpoint `blip2`, whose container is `app`. */
export async function startEndpoint(
  s3: S3Double,
  app: ReturnType<typeof createApp>,
): Promise<EndpointDouble> {
  const waiting: string[] = []
  const invoked: EndpointDouble['invoked'] = []
  const answer = async (key: string) => {
    const input = s3.objects.get(key)
    // Nobody waits any more: it took its ask away.
    if (!input) return
    const response = await app.request('/invocations', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: input.bytes.toString(),
    })
    const text = await response.text()
    const name = key.split('/').at(-1)!
    // As the documentation of asynchronous endpoints shows a failure.
    const failure = `Received client error (${response.status}) from primary with message "${text.replaceAll('"', '\\"')}". See https://console for more.`
    const [place, said] = response.ok
      ? [`sagemaker/out/${name}`, text]
      : [`sagemaker/failed/${name}`, failure]
    s3.objects.set(place, { bytes: Buffer.from(said), etag: '"x"', metadata: {}, modifiedMs: Date.now() })
  }
  const self = { asleep: false }
  const server = createServer(async (request, response) => {
    await buffer(request)
    if (!request.url!.startsWith('/endpoints/blip2/')) {
      const type = { 'x-amzn-errortype': 'ValidationError', 'content-type': 'application/json' }
      return response.writeHead(400, type).end('{"message":"Endpoint not found"}')
    }
    invoked.push({ path: request.url!, headers: request.headers })
    const key = String(request.headers['x-amzn-sagemaker-inputlocation']).replace(`s3://${s3.bucket}/`, '')
    const name = key.split('/').at(-1)!
    response.writeHead(202, {
      'content-type': 'application/json',
      'x-amzn-sagemaker-outputlocation': `s3://${s3.bucket}/sagemaker/out/${name}`,
      'x-amzn-sagemaker-failurelocation': `s3://${s3.bucket}/sagemaker/failed/${name}`,
    })
    response.end('{"InferenceId":"x"}')
    if (self.asleep) waiting.push(key)
    else await answer(key)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(self, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    invoked,
    async wake() {
      self.asleep = false
      for (const key of waiting.splice(0)) await answer(key)
    },
    async wakeOne() {
      const [key] = waiting.splice(0, 1)
      if (key) await answer(key)
    },
    close() {
      server.closeAllConnections()
      server.close()
    },
  })
}

const credentials = { accessKeyId: 'a', secretAccessKey: 'b' }

/** Options of a client of this bucket. */
export function s3Options({ endpoint }: S3Double) {
  return { region: 'eu-central-1', endpoint, forcePathStyle: true, credentials, retryMs: 1 }
}

/** The engine that asks this endpoint, or another one by its name. */
export function openEndpoint(
  s3: S3Double,
  { url }: EndpointDouble,
  name = 'blip2',
  deadlineMs = 600_000,
  hasNotice = false,
) {
  return openSageMakerEngine(
    { name, bucket: s3.bucket, prefix: 'sagemaker', hasNotice },
    {
      deadlineMs,
      firstWaitMs: 5,
      s3: s3Options(s3),
      client: { region: 'eu-central-1', endpoint: url, credentials, maxAttempts: 1 },
    },
  )
}

// Everything that the functions talk to, behind one address: /<process>/<service>/... It counts the requests of each process
// and can kill a process once one of them has taken effect. SQS and S3 are moto; Slack, the remote engine and the SageMaker
// endpoint are doubles.

import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { GetObjectCommand, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import { configureLog } from '../../src/observe/log.ts'
import { createApp } from '../../src/serve/routes.ts'
import { doubleEngine, PNG } from '../serve/double.ts'

export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
}

interface Options {
  /** Address of moto. */
  aws: string
  s3: S3Client
  /** Publishes a notice of the endpoint. */
  notify?: (notice: string) => Promise<void>
}

const jsonAnswer = (value: unknown, status = 200, headers = {}): Answer => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: Buffer.from(JSON.stringify(value)),
})

export type Front = Awaited<ReturnType<typeof startFront>>

export async function startFront({ aws, s3, notify = async () => {} }: Options) {
  configureLog('json', { write: () => {} })
  const engine = createApp(doubleEngine(), { report: () => {} })
  const posted: Record<string, string>[] = []
  const counts = new Map<string, number>()
  const deaths = new Map<string, { after: number; kill: () => void }>()
  const heartbeats = new Map<string, { left: number; kill: () => void }>()
  const hidden = new Map<string, number>()
  const touched = new Set<string>()
  const unanswered: (() => Promise<void>)[] = []
  /** `onNotice`: called when the endpoint has published a notice, before it says to its caller that it has the request. */
  const self: { isS3Down: boolean; isAsleep: boolean; onNotice?: (() => Promise<unknown>) | undefined } = {
    isS3Down: false,
    isAsleep: false,
  }

  const slack: Record<string, (given: Record<string, string>) => object> = {
    'auth.test': () => ({ user_id: 'UBOT', bot_id: 'BBOT', team_id: 'T' }),
    'users.info': () => ({ user: { locale: 'en-US' } }),
    'chat.postMessage': (given) => ({ ts: `9.${posted.push(given)}` }),
    'conversations.replies': ({ channel, ts }) => ({ messages: shown(channel!, ts) }),
    'conversations.history': ({ channel }) => ({ messages: shown(channel!, undefined) }),
  }
  const shown = (channel: string, thread: string | undefined) =>
    posted
      .map((each, index) => ({ ...each, metadata: JSON.parse(each['metadata']!), ts: `9.${index + 1}` }))
      .filter((each) => (each as Record<string, unknown>)['channel'] === channel)
      .filter((each) => (each as Record<string, unknown>)['thread_ts'] === thread)

  /** Of the address `s3://bucket/key`. */
  const objectAt = (address: string) => {
    const [, Bucket, Key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(address)!
    return { Bucket: Bucket!, Key: Key! }
  }
  /** InvokeEndpointAsync: the result is in S3 before its notice is published, and the response says where. */
  const invokeEndpoint = async ({ headers }: IncomingMessage): Promise<Answer> => {
    const output = `s3://state/sagemaker/out/${randomUUID()}.out`
    const answer = async () => {
      const input = objectAt(String(headers['x-amzn-sagemaker-inputlocation']))
      const body = await (await s3.send(new GetObjectCommand(input))).Body!.transformToString()
      const said = await engine.request('/invocations', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
      await s3.send(new PutObjectCommand({ ...objectAt(output), Body: await said.text() }))
      const inferenceId = headers['x-amzn-sagemaker-inference-id']
      await notify(JSON.stringify({ invocationStatus: 'Completed', inferenceId }))
      await self.onNotice?.()
    }
    if (self.isAsleep) unanswered.push(answer)
    else await answer()
    return jsonAnswer({ InferenceId: 'x' }, 202, { 'x-amzn-sagemaker-outputlocation': output })
  }

  const handle = async (
    name: string,
    service: string,
    path: string,
    request: IncomingMessage,
    body: Buffer,
  ) => {
    if (service === 'picture') return { status: 200, headers: {}, body: Buffer.from(PNG) }
    if (service === 'endpoint') return await invokeEndpoint(request)
    if (service === 'slack') {
      const answer = slack[path.slice(1)]?.(Object.fromEntries(new URLSearchParams(body.toString())))
      return jsonAnswer(answer ? { ok: true, ...answer } : { ok: false, error: 'unknown_method' })
    }
    if (service === 'engine') {
      const headers = { 'content-type': 'application/json' }
      const method = request.method!
      const given = { method, headers, body: method === 'POST' ? body.toString() : undefined }
      const said = await engine.request(path, given)
      return { status: said.status, headers, body: Buffer.from(await said.arrayBuffer()) }
    }
    const [, prefix] = /^\/state\/(\w+\/\w+)\//.exec(path) ?? []
    if (service === 's3' && prefix) touched.add(`${name.replace(/\d+$/, '')} ${request.method} ${prefix}`)
    if (service === 's3' && self.isS3Down) return { status: 503, headers: {}, body: Buffer.alloc(0) }
    const answer = await forward(aws + path, request, body)
    if (String(request.headers['x-amz-target']).endsWith('ChangeMessageVisibility')) {
      const { ReceiptHandle, VisibilityTimeout } = JSON.parse(body.toString())
      hidden.set(ReceiptHandle, VisibilityTimeout)
    }
    return answer
  }
  const server = createServer(async (request, response) => {
    const [, name = '', service = '', path = ''] = /^\/([^/]+)\/([^/?]+)(.*)$/.exec(request.url!) ?? []
    const body = await buffer(request)
    const beats = heartbeats.get(name)
    if (beats && service === 'engine') return
    const answer = await handle(name, service, path, request, body)
    if (beats && service === 'sqs' && --beats.left === 0) return beats.kill()
    const count = (counts.get(name) ?? 0) + 1
    counts.set(name, count)
    const death = deaths.get(name)
    if (death && count >= death.after) {
      // Another process fetches the picture at the same address later.
      deaths.delete(name)
      death.kill()
      return void request.socket.destroy()
    }
    response.writeHead(answer.status, answer.headers).end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(self, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Seconds of the last ChangeMessageVisibility, by receipt handle. */
    hidden,
    /** Objects by process, method and the first two parts of their keys: `answer PUT sagemaker/in`. */
    touched,
    /** Kills the process once its request of this number has taken effect; 0: before its first. */
    killAfter(name: string, after: number, kill: () => void) {
      if (after === 0) kill()
      else deaths.set(name, { after, kill })
    },
    /** The engine does not answer this process, which is killed once it has hidden its message so many times. */
    killAfterHiding(name: string, times: number, kill: () => void) {
      heartbeats.set(name, { left: times, kill })
    },
    /** Requests of the endpoint that wait while `isAsleep` are answered. Returns how many there were. */
    async wake(): Promise<number> {
      const all = unanswered.splice(0)
      for (const answer of all) await answer()
      return all.length
    },
    /** In a thread; in all of the channel without one. */
    replies: (channel: string, thread?: string) =>
      posted
        .filter((each) => each['channel'] === channel)
        .filter((each) => thread === undefined || each['thread_ts'] === thread).length,
    close() {
      server.closeAllConnections()
      server.close()
    },
  })
}

export function forward(to: string, { method, headers }: IncomingMessage, body: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = send(to, { method, headers: { ...headers, host: new URL(to).host } }, async (response) => {
      resolve({ status: response.statusCode!, headers: response.headers, body: await buffer(response) })
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

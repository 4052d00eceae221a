// A new AWS account: moto, and in front of it what moto lacks. It answers which limits the account has, what an image is for, and the
// outputs of a stack that was updated; it accepts every template, where moto refuses one with a warning of cfn-lint.

import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { ListBucketsCommand, S3Client } from '@aws-sdk/client-s3'
import { type Answer, forward } from '../aws/front.ts'
import type { Moto } from '../moto.ts'

/** Address of the API of the stack: moto has no HTTP API in CloudFormation. */
export const API = 'https://abc123.execute-api.eu-central-1.amazonaws.com'

export interface NewAccount {
  url: string
  close(): void
}

/** In front of moto. `options` are those of its clients. */
export async function openNewAccount({ endpoint: aws, ...options }: Moto['options']): Promise<NewAccount> {
  const s3 = new S3Client({ ...options, endpoint: aws })
  const json = (value: unknown): Answer => ({
    status: 200,
    headers: { 'content-type': 'application/x-amz-json-1.1' },
    body: Buffer.from(JSON.stringify(value)),
  })
  const xml = (text: string): Answer => ({
    status: 200,
    headers: { 'content-type': 'text/xml' },
    body: Buffer.from(text),
  })
  const answer = async (request: IncomingMessage, body: Buffer): Promise<Answer> => {
    const target = String(request.headers['x-amz-target'] ?? '')
    if (request.url === '/2016-08-19/account-settings')
      return json({ AccountLimit: { ConcurrentExecutions: 10, UnreservedConcurrentExecutions: 10 } })
    if (target.endsWith('.ListServiceQuotas'))
      return json({ Quotas: [{ QuotaName: 'ml.g4dn.xlarge for endpoint usage', Value: 1 }] })
    if (target.endsWith('.GetDownloadUrlForLayer')) return json({ downloadUrl: `${url}/image-config` })
    if (request.url === '/image-config') return json({ os: 'linux', architecture: 'amd64' })
    const query = new URLSearchParams(body.toString('latin1'))
    if (query.get('Action') === 'ValidateTemplate')
      return xml('<ValidateTemplateResponse><ValidateTemplateResult/></ValidateTemplateResponse>')
    const said = await forward(aws + request.url, request, body)
    const stack = query.get('StackName') ?? ''
    return query.get('Action') === 'DescribeStacks' ? await withOutputs(said, stack) : said
  }
  /** moto keeps the outputs of the template with which a stack was created. */
  const withOutputs = async (said: Answer, stack: string) => {
    const { Buckets = [] } = await s3.send(new ListBucketsCommand({}))
    const bucket = Buckets.find(({ Name }) => Name!.startsWith(`${stack}-statebucket-`))?.Name
    if (bucket === undefined) return said
    const outputs = Object.entries({ StateBucket: bucket, HttpApiUrl: API }).map(
      ([key, value]) => `<member><OutputKey>${key}</OutputKey><OutputValue>${value}</OutputValue></member>`,
    )
    const text = said.body.toString().replace(/<Outputs>.*?<\/Outputs>/s, '')
    return xml(text.replace('<Tags', `<Outputs>${outputs.join('')}</Outputs><Tags`))
  }
  const server = createServer(async (request, response) => {
    const { status, headers, body } = await answer(request, await buffer(request))
    response.writeHead(status, headers).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

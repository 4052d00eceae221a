// A request to the URL of a Lambda function with AuthType AWS_IAM -> its headers with a signature of Signature Version 4.
//
// The role needs lambda:InvokeFunctionUrl and lambda:InvokeFunction. Source: IAM user guide, "AWS Signature Version 4";
// Lambda developer guide, "Control access to Lambda function URLs".

import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto'
import { defaultProvider } from '@aws-sdk/credential-provider-node'
import { SignatureV4 } from '@smithy/signature-v4'

export type Sign = (request: {
  method: string
  url: string
  headers: Record<string, string>
  body?: string
}) => Promise<Record<string, string>>

/** SHA-256 as the signer calls it. */
class Sha256 {
  readonly #hash: Hash | Hmac
  constructor(secret?: unknown) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', secret as string)
  }
  update(data: Uint8Array): void {
    this.#hash.update(data)
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }
  reset(): void {}
}

/** Signs with the role's credentials, which the SDK finds and renews. */
export function openSigner(region: string): Sign {
  const signer = new SignatureV4({
    service: 'lambda',
    region,
    credentials: defaultProvider(),
    sha256: Sha256,
    applyChecksum: true,
  })
  return async ({ method, url, headers, body }) => {
    const { protocol, hostname, pathname, search, port } = new URL(url)
    const signed = await signer.sign({
      method,
      protocol,
      hostname,
      port: port === '' ? undefined : Number(port),
      path: pathname,
      query: Object.fromEntries(new URLSearchParams(search)),
      headers: { ...headers, host: new URL(url).host },
      body,
    })
    const { host: _, ...rest } = signed.headers
    return rest
  }
}

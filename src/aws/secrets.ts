// Tokens from the SSM parameter store, read once when a process starts: path and names in, settings out.
//
// GLIMPSE_SECRETS=/glimpse/prod and SLACK_BOT_TOKEN are the SecureString /glimpse/prod/SLACK_BOT_TOKEN. Each function asks
// only for the names that it needs, and its role may read only these.

import { GetParametersCommand, SSMClient, type SSMClientConfig } from '@aws-sdk/client-ssm'
import { SetupError } from '../errors.ts'

/** GetParameters takes no more names. */
const AT_ONCE = 10

/** What is not stored is left out. @throws SetupError `no_secrets` */
export async function readSecrets(
  path: string,
  names: readonly string[],
  options: SSMClientConfig = {},
): Promise<Record<string, string>> {
  const below = path.replace(/\/+$/, '')
  const client = new SSMClient(options)
  const found: Record<string, string> = {}
  for (let from = 0; from < names.length; from += AT_ONCE) {
    const Names = names.slice(from, from + AT_ONCE).map((name) => `${below}/${name}`)
    const { Parameters = [] } = await client
      .send(new GetParametersCommand({ Names, WithDecryption: true }))
      .catch((cause: unknown) => {
        throw new SetupError(
          'no_secrets',
          `Expected to read the parameters below ${below} but SSM said ${(cause as Error).name}. Check GLIMPSE_SECRETS and the role's permissions.`,
          { cause },
        )
      })
    for (const { Name, Value } of Parameters) found[Name!.slice(below.length + 1)] = Value!
  }
  return found
}

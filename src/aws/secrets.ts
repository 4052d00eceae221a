// Tokens from the SSM parameter store, read once when a process starts: path and names in, settings out.
//
// GLIMPSE_SECRETS=/glimpse/prod and SLACK_BOT_TOKEN are the SecureString /glimpse/prod/SLACK_BOT_TOKEN. Each function asks
// only for the names that it needs, and its role may read only these.

import { GetParametersCommand, SSMClient, type SSMClientConfig } from '@aws-sdk/client-ssm'
import { SECRET_NAMES } from '../config.ts'
import { SetupError } from '../errors.ts'

/** GetParameters takes no more names. */
const AT_ONCE = 10

/**
 * The secrets that this process needs, or, without `names`, all that it may read: each asked for by itself, since one that
 * is forbidden forbids all that are asked for with it. @throws SetupError `no_secrets`, also where all are forbidden
 */
export async function secretsBelow(
  path: string,
  names?: readonly string[],
  read = readSecrets,
): Promise<Record<string, string>> {
  if (names) return await read(path, names)
  const refusals: unknown[] = []
  const one = (name: string) =>
    read(path, [name]).catch((error: unknown) => {
      if (!isForbidden(error)) throw error
      refusals.push(error)
      return {}
    })
  const found = await Promise.all(SECRET_NAMES.map(one))
  if (refusals.length === SECRET_NAMES.length) throw refusals[0]
  return Object.assign({}, ...found)
}

function isForbidden(error: unknown): boolean {
  return error instanceof Error && (error.cause as Error | undefined)?.name === 'AccessDeniedException'
}

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

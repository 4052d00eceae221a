// Path and names -> secrets of the SSM parameter store, read once when a process starts.
//
// With GLIMPSE_SECRETS=/glimpse/prod the secret SLACK_BOT_TOKEN is the SecureString /glimpse/prod/SLACK_BOT_TOKEN. A function
// requests only the names that it needs, because its role may read only those.

import { GetParametersCommand, SSMClient, type SSMClientConfig } from '@aws-sdk/client-ssm'
import { ENVIRONMENT, SECRET_NAMES } from '../config.ts'
import { SetupError } from '../errors.ts'

/** The most names that GetParameters accepts. */
const AT_ONCE = 10

/**
 * The secrets in `names`. Default: every secret that this role may read; each is requested alone, because SSM refuses a
 * request that names one forbidden parameter. @throws SetupError `no_secrets`, also when all are forbidden
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

/**
 * The region of AWS's command line: of the environment or the profile; undefined where neither has one. The SDK does not read
 * AWS_DEFAULT_REGION.
 */
export async function defaultRegion(): Promise<string | undefined> {
  const { AWS_REGION, AWS_DEFAULT_REGION } = ENVIRONMENT
  const ofProfile = () => new SSMClient({}).config.region().catch(() => undefined)
  return AWS_REGION || AWS_DEFAULT_REGION || (await ofProfile())
}

/** Names that are not stored are absent from the result. @throws SetupError `no_secrets` */
export async function readSecrets(
  path: string,
  names: readonly string[],
  options: SSMClientConfig = {},
): Promise<Record<string, string>> {
  const prefix = path.replace(/\/+$/, '')
  const client = new SSMClient(options)
  const found: Record<string, string> = {}
  for (let from = 0; from < names.length; from += AT_ONCE) {
    const Names = names.slice(from, from + AT_ONCE).map((name) => `${prefix}/${name}`)
    const { Parameters = [] } = await client
      .send(new GetParametersCommand({ Names, WithDecryption: true }))
      .catch((cause: unknown) => {
        throw new SetupError(
          'no_secrets',
          `SSM refused to read the parameters below ${prefix} (${(cause as Error).name}). Check GLIMPSE_SECRETS and the role's permissions.`,
          { cause },
        )
      })
    for (const { Name, Value } of Parameters) found[Name!.slice(prefix.length + 1)] = Value!
  }
  return found
}

// The parameters of a deployment and what the AWS account has -> findings, before anything is created. Each of these is refused
// only after minutes of a deployment, or not at all.
//
// The limits are AWS's: "Lambda quotas", "Amazon SageMaker AI endpoints and quotas", "Create a Lambda function using a container
// image".

import { type Finding, fail, ok, skipped, warn } from '../finding.ts'
import type { Checks } from './check.ts'

/** What is asked of the account; replaced in tests. */
export interface Account {
  /** Region of the command line and the SDK where none is given; undefined when there is none. */
  defaultRegion(): Promise<string | undefined>
  /** Names of the secrets below the path in a region. */
  secrets(path: string, region: string): Promise<string[]>
  /** Functions that may run at once: of the account, and of it what no function reserves. */
  concurrency(): Promise<{ limit: number; unreserved: number }>
  /** A quota by its service and name; undefined when the service has none of this name. */
  quota(service: string, name: string): Promise<number | undefined>
  /** An image of the account's registry; undefined when it is not there. */
  image(repository: string, digest: string): Promise<Image | undefined>
  /** What the artifact's manifest says, in one line. @throws GlimpseError when there is none */
  model(location: string): Promise<string>
}

export interface Image {
  mediaType: string
  /** `linux/amd64`; absent for an index of several images. */
  platform?: string
}

export interface Deployment {
  stage: string
  region: string
  /** The stack's output `StateBucket`; undefined before the first deployment. */
  bucket?: string
  /** Parameters of serverless.yml by name. */
  params: Readonly<Record<string, string>>
  /** Of each chat platform, the secrets without which it does not work. */
  platforms: readonly { label: string; secrets: readonly string[] }[]
}

/** Where the model runs, and what that needs. */
const VARIANTS: Record<string, { hasImage?: boolean; hasModel?: boolean }> = {
  sagemaker: { hasImage: true, hasModel: true },
  lambda: { hasImage: true, hasModel: true },
  none: { hasImage: true, hasModel: true },
  url: {},
  embedded: {},
}
const IMAGE =
  /^(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?\/([^@:]+)(?:@(sha256:[0-9a-f]{64})|:(\S+))?$/
const PLATFORMS: Record<string, string> = { x86_64: 'linux/amd64', arm64: 'linux/arm64' }
/** AWS refuses a reservation that leaves less than this to the functions that reserve nothing. */
const LEAST_UNRESERVED = 10
/** vCPUs of the GPU instances of gpu=lambda, by the name of the EC2 quota. */
const EC2_GPU_QUOTA = 'Running On-Demand G and VT instances'
const VCPUS: Record<string, number> = {
  xlarge: 4,
  '2xlarge': 8,
  '4xlarge': 16,
  '8xlarge': 32,
  '12xlarge': 48,
}
/** Names of the SDK's errors about credentials and permissions. */
const REFUSALS =
  /^(AccessDenied|CredentialsProviderError|UnrecognizedClient|InvalidClientTokenId|ExpiredToken)/
const RAISE = 'https://console.aws.amazon.com/servicequotas'

/** Checks in the order of a deployment. */
export function deployChecks(deployment: Deployment, account: Account): Checks {
  const { params } = deployment
  const variant = VARIANTS[params['gpu'] ?? '']
  const ifImage = (check: () => Promise<Finding> | Finding) => async () =>
    variant?.hasImage ? await check() : skipped(`gpu=${params['gpu']} has no image of its own`)
  const checks: Checks = {
    gpu: async () => checkVariant(deployment),
    keep: async () => checkKeep(params),
    secrets: () => checkSecrets(deployment, account),
    concurrency: () => checkConcurrency(params, account),
    quota: () => checkQuota(params, account),
    image: ifImage(() => checkImage(deployment, account)),
    model: () => checkModel(deployment, account, variant?.hasModel ?? false),
  }
  const refusable = (check: () => Promise<Finding>) => async () => await check().catch(refused)
  return Object.fromEntries(Object.entries(checks).map(([name, check]) => [name, refusable(check)]))
}

/** @throws what is no refusal by AWS */
function refused(error: unknown): Finding {
  const { name, message } =
    ([error, (error as Error).cause].find((each) => REFUSALS.test((each as Error)?.name)) as Error) ?? {}
  if (name === undefined) throw error
  if (name.startsWith('Access'))
    return fail(message, 'Allow it for these credentials: this command only reads.')
  return fail(message, 'Give the credentials of the deployment: aws configure, or aws sso login.')
}

function checkVariant({ params }: Deployment): Finding {
  const { gpu = '', engineUrl = '', subnets = '', securityGroups = '' } = params
  const names = Object.keys(VARIANTS).join(', ')
  if (!VARIANTS[gpu]) return fail(`Expected gpu to be one of ${names} but got "${gpu}".`)
  if (gpu === 'url' && (!URL.canParse(engineUrl) || engineUrl.includes('example.com')))
    return fail(`engineUrl is "${engineUrl}"`, 'Set it to the address of the container: https://...')
  const isNetworkMissing = /^$|-00000000/.test(subnets) || /^$|-00000000/.test(securityGroups)
  if (gpu === 'lambda' && isNetworkMissing)
    return fail('subnets or securityGroups are not set', 'Set both: the GPU instances start in them.')
  return ok(`gpu=${gpu}`)
}

function checkKeep({ keepHours = '', expireDays = '' }: Deployment['params']): Finding {
  const [keep, expire] = [Number(keepHours), Number(expireDays)]
  if (!(keep > 0) || !(expire > 0))
    return fail(`Expected keepHours and expireDays to be numbers but got "${keepHours}" and "${expireDays}".`)
  if (keep <= expire * 24) return ok(`threads for ${keep} h, leftovers for ${expire} days`)
  return fail(
    `keepHours=${keep} is longer than expireDays=${expire}: the bucket deletes threads that are still continued`,
    `Set expireDays to ${Math.ceil(keep / 24) + 1}.`,
  )
}

async function checkSecrets(deployment: Deployment, account: Account): Promise<Finding> {
  const { stage, region, platforms } = deployment
  const path = `/glimpse/${stage}`
  const stored = await account.secrets(path, region)
  if (stored.length === 0) {
    const other = await account.defaultRegion()
    const there = other === undefined || other === region ? [] : await account.secrets(path, other)
    const put = `aws ssm put-parameter --region ${region} --type SecureString --name ${path}/GLIMPSE_API_TOKEN --value ...`
    if (there.length > 0)
      return fail(
        `the parameters below ${path} are in ${other}, and the functions read those of ${region}`,
        `Store them there: ${put}. Or deploy to the other region: --region ${other}`,
      )
    return fail(`there is no parameter below ${path} in ${region}`, `Store the tokens: ${put}`)
  }
  for (const { label, secrets } of platforms) {
    const missing = secrets.filter((name) => !stored.includes(name))
    if (missing.length > 0 && missing.length < secrets.length)
      return fail(
        `${label} has no ${missing.join(', ')} below ${path}`,
        `Store what is missing, or remove the rest of ${label}.`,
      )
  }
  const found = `${stored.join(', ')} below ${path} in ${region}`
  if (stored.includes('GLIMPSE_API_TOKEN')) return ok(found)
  return warn(`${found}; without GLIMPSE_API_TOKEN every request over HTTP is refused`)
}

async function checkConcurrency(
  { httpConcurrency = '0' }: Deployment['params'],
  account: Account,
): Promise<Finding> {
  const { limit, unreserved } = await account.concurrency()
  const reserved = Number(httpConcurrency)
  const left = unreserved - reserved
  const found = `${limit} functions at once, ${unreserved} not reserved, httpConcurrency=${reserved}`
  if (left >= LEAST_UNRESERVED) return ok(found)
  return fail(
    `${found}: AWS keeps ${LEAST_UNRESERVED} for other functions and refuses this reservation`,
    `Ask AWS to raise "Concurrent executions" (free of charge): ${RAISE}. Or lower httpConcurrency to ${Math.max(0, unreserved - LEAST_UNRESERVED)}.`,
  )
}

async function checkQuota(params: Deployment['params'], account: Account): Promise<Finding> {
  const { gpu = '', instance = '', gpuInstance = '', most = '1' } = params
  if (gpu !== 'sagemaker' && gpu !== 'lambda') return skipped(`gpu=${gpu} starts no GPU in this account`)
  const isEndpoint = gpu === 'sagemaker'
  const name = isEndpoint ? `${instance} for endpoint usage` : EC2_GPU_QUOTA
  const each = isEndpoint ? 1 : VCPUS[gpuInstance.split('.')[1] ?? '']
  if (each === undefined)
    return warn(`the number of vCPUs of ${gpuInstance} is not known`, `Compare it with the quota "${name}".`)
  const needed = each * Number(most)
  const value = await account.quota(isEndpoint ? 'sagemaker' : 'ec2', name)
  if (value === undefined)
    return fail(
      `there is no quota "${name}"`,
      `Check the name of the instance: ${isEndpoint ? instance : gpuInstance}`,
    )
  const found = `"${name}" is ${value}, ${needed} needed`
  if (value >= needed) return ok(found)
  return fail(found, `New accounts have 0. Ask AWS to raise it, which takes hours to days: ${RAISE}`)
}

async function checkImage({ params, region }: Deployment, account: Account): Promise<Finding> {
  const { image = '', architecture = '' } = params
  const [, registry, home, repository, digest, tag] = IMAGE.exec(image) ?? []
  const form = '<account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:<digest>'
  if (!registry)
    return fail(
      `Expected image like ${form} but got "${image}".`,
      'Pass the address that `docker push` prints.',
    )
  if (/^0+$/.test(registry))
    return fail('image is the placeholder', 'docs/deploy.md says how to build and push one.')
  if (!digest)
    return fail(`image is named by the tag ${tag ?? 'latest'}, which may change`, `Pass its digest: ${form}`)
  if (home !== region)
    return fail(
      `image is in ${home}`,
      `AWS pulls it from the region of the deployment: push it to ${region}.`,
    )
  if (repository !== params['repository'])
    return fail(
      `image is in the repository ${repository}, and the role may pull from ${params['repository']}`,
      `Pass --param repository=${repository}.`,
    )
  const found = await account.image(repository!, digest)
  if (!found)
    return fail(
      `there is no image ${digest.slice(0, 19)}... in ${repository}`,
      'Push it first: docs/deploy.md.',
    )
  const wanted = PLATFORMS[architecture === 'arm64' && params['gpu'] === 'none' ? 'arm64' : 'x86_64']!
  const build = `Build one: docker buildx build --platform ${wanted} --provenance=false --push ...`
  if (found.platform === undefined)
    return fail(
      `image is an index of several images (${found.mediaType}), which Lambda and SageMaker refuse`,
      build,
    )
  if (found.platform !== wanted) return fail(`image is for ${found.platform}, and ${wanted} is needed`, build)
  return ok(`${repository}, ${found.platform}`)
}

async function checkModel(
  { params, bucket }: Deployment,
  account: Account,
  isNeeded: boolean,
): Promise<Finding> {
  if (!isNeeded) return skipped(`gpu=${params['gpu']} reads no model from the bucket`)
  if (bucket === undefined)
    return warn(
      'the bucket is not known: a container without a model does not start, and the deployment is rolled back',
      'Deploy with --param gpu=embedded first. Then pass its output StateBucket: --bucket <name>',
    )
  return ok(await account.model(`s3://${bucket}/${params['model']}`))
}

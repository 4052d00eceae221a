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
  /** Functions that may run at once: of the account; of it what no function reserves; and what these functions reserve. */
  concurrency(functions: readonly string[]): Promise<{ limit: number; unreserved: number; own: number }>
  /** A quota by its service and name; undefined when the service has none of this name. */
  quota(service: string, name: string): Promise<number | undefined>
  /** An image of the registry of an account; undefined when it is not there. */
  image(registry: string, repository: string, digest: string): Promise<Image | undefined>
  /** What the artifact's manifest says. @throws GlimpseError when there is none */
  model(location: string): Promise<Model>
}

export interface Image {
  mediaType: string
  /** `linux/amd64`; absent for an index of several images. */
  platform?: string
}

export interface Model {
  name: string
  /** Its vision weights have a format with kernels of the CPU only. */
  isForCpu: boolean
}

export interface Deployment {
  stage: string
  region: string
  /** The stack's output `StateBucket`; undefined before the first deployment. */
  bucket?: string
  /** Whether the stage has a file with parameters. */
  hasFile: boolean
  /** Parameters of serverless.yml by name. */
  params: Readonly<Record<string, string>>
  /** A pattern for the whole value of a parameter, and its words. */
  forms: Readonly<Record<string, readonly [pattern: string, words: string]>>
  /** Of each chat platform, the secrets without which it does not work. */
  platforms: readonly { label: string; secrets: readonly string[] }[]
}

/** Where the model runs, and what that needs. */
const VARIANTS: Record<
  string,
  { hasImage?: boolean; hasModel?: boolean; hasGpu?: boolean; reserves?: number }
> = {
  sagemaker: { hasImage: true, hasModel: true, hasGpu: true },
  lambda: { hasImage: true, hasModel: true, hasGpu: true },
  // deploy/gpu-none.yml reserves two functions.
  none: { hasImage: true, hasModel: true, reserves: 2 },
  url: {},
  embedded: {},
}
/** deploy/forms.yml has the same form, and refuses others. */
const IMAGE = /^(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?\/([^@:]+)@(sha256:[0-9a-f]{64})$/
const NOT_OF_ITS_FORM = 'a parameter of it has another form: see params'
/** The containers are for this platform, whatever the architecture of the other functions. */
const PLATFORM = 'linux/amd64'
/**
 * AWS refuses a reservation that leaves less than this to the functions that reserve nothing ("Configuring reserved concurrency
 * for a function"). An account with a lower limit can reserve nothing.
 */
const LEAST_UNRESERVED = 100
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
    params: async () => checkParams(deployment),
    keep: async () => checkKeep(params),
    alarms: async () => checkAlarms(deployment),
    secrets: () => checkSecrets(deployment, account),
    concurrency: () => checkConcurrency(deployment, account, variant?.reserves ?? 0),
    quota: () => checkQuota(params, account),
    image: ifImage(() => checkImage(deployment, account)),
    model: () =>
      variant?.hasModel
        ? checkModel(deployment, account, variant.hasGpu ?? false)
        : Promise.resolve(skipped(`gpu=${params['gpu']} reads no model from the bucket`)),
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

function checkParams({ stage, hasFile, params, forms }: Deployment): Finding {
  const wrong = Object.entries(forms).flatMap(([name, [pattern, words]]) => {
    const value = params[name] ?? ''
    return new RegExp(`^(?:${pattern})$`).test(value) ? [] : [`${name} to be ${words} but got "${value}"`]
  })
  if (wrong.length > 0) return fail(`Expected ${wrong.join('; ')}.`)
  const { gpu = '', engineUrl = '', subnets = '', securityGroups = '', warmFrom, warmUntil } = params
  if (!warmFrom !== !warmUntil)
    return fail('Expected both warmFrom and warmUntil but got one.', 'Set the other.')
  if (gpu === 'url' && (!URL.canParse(engineUrl) || engineUrl.includes('example.com')))
    return fail(`engineUrl is "${engineUrl}"`, 'Set it to the address of the container: https://...')
  const isNetworkMissing = /^$|-00000000/.test(subnets) || /^$|-00000000/.test(securityGroups)
  if (gpu === 'lambda' && isNetworkMissing)
    return fail('subnets or securityGroups are not set', 'Set both: the GPU instances start in them.')
  if (!hasFile)
    return warn(
      `gpu=${gpu}: deploy/stages/${stage}.yml does not exist, so the parameters are the defaults`,
      'Add it, or correct --stage.',
    )
  return ok(`gpu=${gpu}`)
}

function checkKeep({ keepHours = '', expireDays = '' }: Deployment['params']): Finding {
  const [keep, expire] = [Number(keepHours), Number(expireDays)]
  if (!(keep > 0 && expire > 0)) return skipped(NOT_OF_ITS_FORM)
  if (keep <= expire * 24) return ok(`threads for ${keep} h, leftovers for ${expire} days`)
  return fail(
    `keepHours=${keep} is longer than expireDays=${expire}: the bucket deletes threads that are still continued`,
    `Set expireDays to ${Math.ceil(keep / 24) + 1}.`,
  )
}

function checkAlarms({ stage, params }: Deployment): Finding {
  const { alarmEmail = '', budgetUsd = '' } = params
  if (alarmEmail !== '') return ok(`to ${alarmEmail}; a budget of ${budgetUsd} US dollars a month`)
  return warn(
    'alarmEmail is empty: no one receives the alarms and the mails of the budget',
    `Set it in deploy/stages/${stage}.yml.`,
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
        `Set region: ${other} in deploy/stages/${stage}.yml. Or store them there: ${put}`,
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
  { stage, params }: Deployment,
  account: Account,
  ofModel: number,
): Promise<Finding> {
  const { httpConcurrency = '' } = params
  const { limit, unreserved, own } = await account.concurrency([
    `glimpse-${stage}-http`,
    `glimpse-${stage}-model`,
  ])
  const reserved = Number(httpConcurrency) + ofModel
  const found = `${limit} functions at once, of which ${unreserved + own} could be reserved and ${reserved} are to be`
  if (reserved === 0 || unreserved + own - reserved >= LEAST_UNRESERVED) return ok(found)
  const raise = `ask AWS to raise "Concurrent executions" (free of charge): ${RAISE}`
  return fail(
    `${found}: AWS refuses to leave less than ${LEAST_UNRESERVED} to other functions`,
    ofModel > 0
      ? `For gpu=${params['gpu']}, ${raise}`
      : `Set httpConcurrency: '' in deploy/stages/${stage}.yml, which reserves none. Or ${raise}`,
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

async function checkImage({ params, region, stage }: Deployment, account: Account): Promise<Finding> {
  const { image = '' } = params
  const [, registry, home, repository, digest] = IMAGE.exec(image) ?? []
  if (!registry || !home || !repository || !digest) return skipped(NOT_OF_ITS_FORM)
  if (/^0+$/.test(registry))
    return fail('image is the placeholder', 'docs/deploy.md says how to build and push one.')
  if (home !== region)
    return fail(
      `image is in ${home}`,
      `AWS pulls it from the region of the deployment: push it to ${region}.`,
    )
  if (repository !== params['repository'])
    return fail(
      `image is in the repository ${repository}, and the role may pull from ${params['repository']}`,
      `Set repository: ${repository} in deploy/stages/${stage}.yml.`,
    )
  const found = await account.image(registry, repository, digest)
  if (!found)
    return fail(
      `there is no image ${digest.slice(0, 19)}... in the repository ${repository} of the account ${registry}`,
      'Push it first: docs/deploy.md.',
    )
  const build = `Build one: docker build --platform ${PLATFORM} --provenance=false ...`
  if (found.platform === undefined)
    return fail(
      `image is an index of several images (${found.mediaType}), which Lambda and SageMaker refuse`,
      build,
    )
  if (found.platform !== PLATFORM)
    return fail(`image is for ${found.platform}, and ${PLATFORM} is needed`, build)
  return ok(`${repository}, ${found.platform}`)
}

async function checkModel(
  { params, bucket }: Deployment,
  account: Account,
  onGpu: boolean,
): Promise<Finding> {
  if (bucket === undefined)
    return warn(
      'the bucket is not known: a container without a model does not start, and the deployment is rolled back',
      'Deploy with gpu: embedded first. Then pass its output StateBucket: --bucket <name>',
    )
  const location = `s3://${bucket}/${params['model']}`
  const { name, isForCpu } = await account.model(location)
  if (onGpu && isForCpu)
    return warn(
      `${name} at ${location} was built for a CPU, and is slower on a GPU`,
      'Build it with --for gpu, and push it to a prefix of its own.',
    )
  return ok(`${name} at ${location}`)
}

// Findings of `glimpse deploy-check` about accounts that refuse a deployment in one way each, and the parameters that it reads.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { deployCheckCommand, paramsOf } from '../../src/cli/deploy-check.ts'
import { openAccount } from '../../src/doctor/account.ts'
import { runChecks } from '../../src/doctor/check.ts'
import { type Account, type Deployment, deployChecks } from '../../src/doctor/deploy.ts'
import { ArtifactError } from '../../src/errors.ts'
import { httpStub } from './http-stub.ts'

const ROOT = join(import.meta.dirname, '../..')
const DIGEST = `sha256:${'ab'.repeat(32)}`
const REGION = 'eu-west-1'
const PARAMS = {
  gpu: 'sagemaker',
  image: `123456789012.dkr.ecr.${REGION}.amazonaws.com/glimpse@${DIGEST}`,
  repository: 'glimpse',
  model: 'models/blip2',
  instance: 'ml.g5.xlarge',
  gpuInstance: 'g6.2xlarge',
  most: '2',
  architecture: 'x86_64',
  keepHours: '24',
  expireDays: '2',
  httpConcurrency: '5',
}
const SLACK = ['SLACK_BOT_TOKEN', 'SLACK_SIGNING_SECRET']
const STORED = ['GLIMPSE_API_TOKEN', ...SLACK]

const fine: Account = {
  defaultRegion: async () => 'us-east-1',
  secrets: async (_, region) => (region === REGION ? STORED : []),
  concurrency: async () => ({ limit: 1000, unreserved: 1000 }),
  quota: async () => 8,
  image: async () => ({ mediaType: 'application/vnd.oci.image.manifest.v1+json', platform: 'linux/amd64' }),
  model: async (location) => `blip2 at ${location}`,
}

async function findings(
  params: Partial<typeof PARAMS> & Record<string, string> = {},
  account: Partial<Account> = {},
  more: Partial<Deployment> = {},
) {
  const deployment: Deployment = {
    stage: 'prod',
    region: REGION,
    bucket: 'state',
    params: { ...PARAMS, ...params },
    platforms: [{ label: 'Slack', secrets: SLACK }],
    ...more,
  }
  const results = await runChecks(deployChecks(deployment, { ...fine, ...account }), 5_000)
  return Object.fromEntries(results.map(({ name, status, found, todo }) => [name, { status, found, todo }]))
}

test('a deployment that AWS accepts passes', async () => {
  const all = await findings()
  expect(Object.values(all).map(({ status }) => status)).toEqual(Array(7).fill('ok'))
  expect(all['model']!.found).toBe('blip2 at s3://state/models/blip2')
})

test('the embedded model needs neither image nor GPU nor bucket', async () => {
  const all = await findings({ gpu: 'embedded' }, {}, { bucket: undefined })
  const skippedNames = Object.keys(all).filter((name) => all[name]!.status === 'skipped')
  expect(skippedNames).toEqual(['quota', 'image', 'model'])
})

const image = (rest: string) => `123456789012.dkr.ecr.${REGION}.amazonaws.com/${rest}`
test.each<[string, string, RegExp, Record<string, string>?, Partial<Account>?]>([
  ['an unknown variant', 'gpu', /one of sagemaker, lambda.*"foo"/, { gpu: 'foo' }],
  [
    'a container without address',
    'gpu',
    /engineUrl/,
    { gpu: 'url', engineUrl: 'https://glimpse.example.com' },
  ],
  [
    'a GPU function without network',
    'gpu',
    /subnets/,
    { gpu: 'lambda', subnets: 'subnet-00000000', securityGroups: 'sg-1' },
    { quota: async () => 64 },
  ],
  ['threads kept longer than the bucket keeps them', 'keep', /expireDays=2/, { keepHours: '72' }],
  [
    'tokens in another region',
    'secrets',
    /in us-east-1, and the functions read those of eu-west-1/,
    {},
    { secrets: async (_, region) => (region === 'us-east-1' ? STORED : []) },
  ],
  [
    'no tokens',
    'secrets',
    /no parameter below \/glimpse\/prod in eu-west-1/,
    {},
    { secrets: async () => [] },
  ],
  [
    'half of Slack',
    'secrets',
    /Slack has no SLACK_SIGNING_SECRET/,
    {},
    { secrets: async () => ['SLACK_BOT_TOKEN'] },
  ],
  [
    'a new account of ten functions',
    'concurrency',
    /10 functions at once/,
    {},
    { concurrency: async () => ({ limit: 10, unreserved: 10 }) },
  ],
  ['no GPU quota', 'quota', /"ml.g5.xlarge for endpoint usage" is 0, 2 needed/, {}, { quota: async () => 0 }],
  [
    'too few vCPUs',
    'quota',
    /G and VT instances" is 8, 16 needed/,
    { gpu: 'lambda', subnets: 's', securityGroups: 's' },
  ],
  [
    'an instance that there is not',
    'quota',
    /no quota "ml.gg.large/,
    { instance: 'ml.gg.large' },
    { quota: async () => undefined },
  ],
  [
    'the placeholder',
    'image',
    /placeholder/,
    { image: `000000000000.dkr.ecr.${REGION}.amazonaws.com/glimpse@sha256:${'0'.repeat(64)}` },
  ],
  ['a tag', 'image', /named by the tag latest, which may change/, { image: image('glimpse:latest') }],
  ['no tag at all', 'image', /named by the tag latest/, { image: image('glimpse') }],
  ['another registry', 'image', /Expected image like/, { image: 'docker.io/glimpse:1' }],
  [
    'an image of another region',
    'image',
    /image is in us-east-1/,
    { image: PARAMS.image.replace(REGION, 'us-east-1') },
  ],
  [
    'a repository that the role may not read',
    'image',
    /may pull from glimpse/,
    { image: image(`other@${DIGEST}`) },
  ],
  [
    'an image that was not pushed',
    'image',
    /there is no image sha256:/,
    {},
    { image: async () => undefined },
  ],
  [
    'an index',
    'image',
    /index of several images .*refuse/,
    {},
    { image: async () => ({ mediaType: 'application/vnd.oci.image.index.v1+json' }) },
  ],
  [
    'an image of a Mac',
    'image',
    /for linux\/arm64, and linux\/amd64 is needed/,
    {},
    { image: async () => ({ mediaType: 'x', platform: 'linux/arm64' }) },
  ],
  [
    'no model in the bucket',
    'model',
    /nothing is there/,
    {},
    {
      model: async () => {
        throw new ArtifactError('no_artifact', 'nothing is there')
      },
    },
  ],
])('%s fails before anything is created', async (_, name, found, params = {}, account = {}) => {
  const all = await findings(params, account)
  expect(all[name]).toMatchObject({ status: 'fail', found: expect.stringMatching(found) })
  expect(Object.keys(all).filter((each) => all[each]!.status === 'fail')).toEqual([name])
})

test('without permission or credentials, it says which', async () => {
  const refusal = (name: string, message: string) => async () => {
    throw Object.assign(new Error(message), { name })
  }
  const all = await findings(
    {},
    {
      quota: refusal('AccessDeniedException', 'not authorized to perform: servicequotas:ListServiceQuotas'),
      concurrency: refusal('CredentialsProviderError', 'Could not load credentials'),
    },
  )
  expect(all['quota']).toMatchObject({
    found: expect.stringContaining('ListServiceQuotas'),
    todo: expect.stringContaining('Allow it'),
  })
  expect(all['concurrency']).toMatchObject({
    found: 'Could not load credentials',
    todo: expect.stringContaining('aws configure'),
  })
})

test('before the first deployment there is no bucket, and that is said', async () => {
  const { model } = await findings({}, {}, { bucket: undefined })
  expect(model).toMatchObject({ status: 'warn', todo: expect.stringContaining('--bucket') })
})

const params = (given: string[], stage = 'test') =>
  paramsOf(ROOT, stage, given, (text) => parse(text, { logLevel: 'silent' }))

test('parameters come from the command line before the defaults of the deployment', () => {
  expect(params([])).toMatchObject({
    keepHours: '24',
    httpConcurrency: '5',
    image: expect.stringMatching(/^0{12}/),
  })
  expect(params(['gpu=embedded', 'image=a=b'])).toMatchObject({ gpu: 'embedded', image: 'a=b' })
  expect(() => params(['gpus=embedded'])).toThrow(/got --param gpus=.*gpu, image/)
  expect(() => params(['gpu'])).toThrow('Expected --param <name>=<value> but got "gpu".')
  expect(() => paramsOf(join(ROOT, 'src'), 'test', [], parse)).toThrow('Expected serverless.yml')
})

test('the account is asked over AWS’s own protocols', async () => {
  const answers: Record<string, object> = {
    'AmazonSSM.GetParameters': { Parameters: [{ Name: '/glimpse/prod/GLIMPSE_API_TOKEN', Value: 'x' }] },
    'ServiceQuotasV20190624.ListServiceQuotas': {
      Quotas: [{ QuotaName: 'ml.g5.xlarge for endpoint usage', Value: 3 }],
    },
    'AmazonEC2ContainerRegistry_V20150921.BatchGetImage': {
      images: [
        {
          imageManifest: JSON.stringify({ config: { digest: DIGEST } }),
          imageManifestMediaType: 'application/vnd.oci.image.manifest.v1+json',
        },
      ],
    },
    'GET /2016-08-19/account-settings': {
      AccountLimit: { ConcurrentExecutions: 10, UnreservedConcurrentExecutions: 7 },
    },
    'GET /config': { os: 'linux', architecture: 'arm64' },
  }
  const asked: string[] = []
  const endpoint: string = await httpStub(({ headers, method, url }) => {
    const { pathname } = new URL(url!, 'http://stub')
    const name = (headers['x-amz-target'] as string | undefined) ?? `${method} ${pathname}`
    asked.push(name)
    const layer = { downloadUrl: `${endpoint}/config`, layerDigest: DIGEST }
    return { body: name.endsWith('GetDownloadUrlForLayer') ? layer : (answers[name] ?? {}) }
  })
  const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' }
  const account = openAccount(REGION, { endpoint, credentials })
  expect(await account.secrets('/glimpse/prod', REGION)).toEqual(['GLIMPSE_API_TOKEN'])
  expect(await account.concurrency()).toEqual({ limit: 10, unreserved: 7 })
  expect(await account.quota('sagemaker', 'ml.g5.xlarge for endpoint usage')).toBe(3)
  expect(await account.quota('sagemaker', 'ml.p4d for endpoint usage')).toBeUndefined()
  expect(await account.image('glimpse', DIGEST)).toMatchObject({ platform: 'linux/arm64' })
  // It reads and creates nothing.
  expect(asked.filter((name) => !/Get|List|GET/.test(name))).toEqual([])
})

test('the default region is that of serverless.yml', () => {
  const { defaultValue } = deployCheckCommand().options.find(({ long }) => long === '--region')!
  expect(readFileSync(join(ROOT, 'serverless.yml'), 'utf8')).toContain(`\${opt:region, '${defaultValue}'}`)
})

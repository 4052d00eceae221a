// Findings of `glimpse deploy-check` about accounts that refuse a deployment in one way each, and the parameters that it reads.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { paramsOf } from '../../src/cli/deploy-check.ts'
import { openAccount } from '../../src/doctor/account.ts'
import { runChecks } from '../../src/doctor/check.ts'
import { type Account, type Deployment, deployChecks } from '../../src/doctor/deploy.ts'
import { ArtifactError } from '../../src/errors.ts'
import { httpStub } from './http-stub.ts'

const ROOT = join(import.meta.dirname, '../..')
const DIGEST = `sha256:${'ab'.repeat(32)}`
const REGION = 'eu-west-1'
const read = (path: string) => parse(readFileSync(join(ROOT, path), 'utf8'))
const DEFAULTS: Record<string, unknown> = read('deploy/defaults.yml')
const PARAMS = {
  ...Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, String(value)])),
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
  alarmEmail: 'on-call@example.com',
}
const SLACK = ['SLACK_BOT_TOKEN', 'SLACK_SIGNING_SECRET']
const STORED = ['GLIMPSE_API_TOKEN', ...SLACK]

const fine: Account = {
  defaultRegion: async () => 'us-east-1',
  secrets: async (_, region) => (region === REGION ? STORED : []),
  concurrency: async () => ({ limit: 1000, unreserved: 1000, own: 0 }),
  quota: async () => 8,
  image: async () => ({ mediaType: 'application/vnd.oci.image.manifest.v1+json', platform: 'linux/amd64' }),
  model: async () => ({ name: 'blip2', isForCpu: false }),
}

async function findings(
  params: Partial<typeof PARAMS> & Record<string, string> = {},
  account: Partial<Account> = {},
  more: Partial<Deployment> = {},
) {
  const deployment: Deployment = {
    stage: 'prod',
    hasFile: true,
    region: REGION,
    bucket: 'state',
    params: { ...PARAMS, ...params },
    forms: read('deploy/forms.yml'),
    platforms: [{ label: 'Slack', secrets: SLACK }],
    ...more,
  }
  const results = await runChecks(deployChecks(deployment, { ...fine, ...account }), 5_000)
  return Object.fromEntries(results.map(({ name, status, found, todo }) => [name, { status, found, todo }]))
}

test('a deployment that AWS accepts passes', async () => {
  const all = await findings()
  expect(Object.values(all).map(({ status }) => status)).toEqual(Array(8).fill('ok'))
  expect(all['model']!.found).toBe('blip2 at s3://state/models/blip2')
})

test('the embedded model needs neither image nor GPU nor bucket', async () => {
  const all = await findings({ gpu: 'embedded' }, {}, { bucket: undefined })
  const skippedNames = Object.keys(all).filter((name) => all[name]!.status === 'skipped')
  expect(skippedNames).toEqual(['quota', 'image', 'model'])
})

const image = (rest: string) => `123456789012.dkr.ecr.${REGION}.amazonaws.com/${rest}`
test.each<[string, string, RegExp, Record<string, string>?, Partial<Account>?]>([
  ['an unknown variant', 'params', /Expected gpu to be embedded, lambda.*"foo"/, { gpu: 'foo' }],
  ['five instances', 'params', /most to be 1 to 4 but got "5"/, { most: '5', instance: 'ml.g5.xlarge' }],
  [
    'half of the warm hours',
    'params',
    /both warmFrom and warmUntil/,
    { warmFrom: 'cron(0 8 ? * MON-FRI *)' },
  ],
  [
    'a container without address',
    'params',
    /engineUrl/,
    { gpu: 'url', engineUrl: 'https://glimpse.example.com' },
  ],
  [
    'a GPU function without network',
    'params',
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
    { concurrency: async () => ({ limit: 10, unreserved: 10, own: 0 }) },
  ],
  [
    'a model without a GPU in an account of 106 functions',
    'concurrency',
    /7 are to be: AWS refuses/,
    { gpu: 'none' },
    { concurrency: async () => ({ limit: 106, unreserved: 106, own: 0 }) },
  ],
  ['no GPU quota', 'quota', /"ml.g5.xlarge for endpoint usage" is 0, 2 needed/, {}, { quota: async () => 0 }],
  [
    'too few vCPUs',
    'quota',
    /G and VT instances" is 8, 16 needed/,
    { gpu: 'lambda', subnets: 'subnet-1,subnet-2', securityGroups: 'sg-1' },
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
  ['a tag', 'params', /by its digest, .* but got ".*glimpse:latest"/, { image: image('glimpse:latest') }],
  ['no tag at all', 'params', /by its digest, .* but got ".*glimpse"/, { image: image('glimpse') }],
  ['another registry', 'params', /an image of ECR/, { image: `docker.io/glimpse@${DIGEST}` }],
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
  expect(() => paramsOf(join(ROOT, 'src'), 'test', [], parse)).toThrow('Expected deploy/defaults.yml')
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
      AccountLimit: { ConcurrentExecutions: 1000, UnreservedConcurrentExecutions: 995 },
    },
    'GET /2019-09-30/functions/glimpse-prod-http/concurrency': { ReservedConcurrentExecutions: 5 },
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
  expect(await account.concurrency(['glimpse-prod-http', 'glimpse-prod-model'])).toEqual({
    limit: 1000,
    unreserved: 995,
    own: 5,
  })
  expect(await account.quota('sagemaker', 'ml.g5.xlarge for endpoint usage')).toBe(3)
  expect(await account.quota('sagemaker', 'ml.p4d for endpoint usage')).toBeUndefined()
  expect(await account.image('123456789012', 'glimpse', DIGEST)).toMatchObject({ platform: 'linux/arm64' })
  // It reads and creates nothing.
  expect(asked.filter((name) => !/Get|List|GET/.test(name))).toEqual([])
})

test('a deployment of an account that reserves its functions already passes', async () => {
  const concurrency = async () => ({ limit: 105, unreserved: 100, own: 5 })
  expect((await findings({}, { concurrency }))['concurrency']).toMatchObject({ status: 'ok' })
})

test('a new account of ten functions can reserve none, and passes with httpConcurrency empty', async () => {
  const concurrency = async () => ({ limit: 10, unreserved: 10, own: 0 })
  const refused = (await findings({}, { concurrency }))['concurrency']
  expect(refused!.todo).toMatch(/^Set httpConcurrency: '' in deploy\/stages\/prod.yml/)
  const { concurrency: found } = await findings({ httpConcurrency: '' }, { concurrency })
  expect(found).toMatchObject({ status: 'ok' })
})

test('without an address for alarms, and with a model for a CPU on a GPU, it warns', async () => {
  const { alarms, model } = await findings(
    { alarmEmail: '' },
    { model: async () => ({ name: 'blip2', isForCpu: true }) },
  )
  expect(alarms).toMatchObject({ status: 'warn', todo: 'Set it in deploy/stages/prod.yml.' })
  expect(model).toMatchObject({ status: 'warn', todo: expect.stringContaining('--for gpu') })
})

test('a stage without a file is most often another name', async () => {
  const { params: found } = await findings({}, {}, { stage: 'pord', hasFile: false })
  expect(found).toMatchObject({ status: 'warn', found: expect.stringContaining('deploy/stages/pord.yml') })
})

test('every parameter has a form', () => {
  const forms: Record<string, [string, string]> = read('deploy/forms.yml')
  expect(Object.keys(DEFAULTS).filter((name) => !(name in forms))).toEqual([])
  expect(Object.keys(forms).filter((name) => !(name in DEFAULTS))).toEqual([])
})

// The commands of docs/deploy.md, operate.md and kubernetes.md run as they are printed, in a new account: moto, which
// `pip install 'moto[server,s3,sqs]' awscli` installs with AWS's command line. Docker is a double. Each line that does not run is
// named with what runs in its place.

import { spawn } from 'node:child_process'
import { chmod, cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { GetObjectCommand, ListBucketsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { type Moto, startMoto } from '../moto.ts'
import { API, type NewAccount, openNewAccount } from './account.ts'
import { type Instead, ROOT, scriptOf } from './commands.ts'

/** What a deployment needs of a clone, besides its packages and what it builds. */
const FILES = [
  ...['serverless.yml', 'package.json', 'package-lock.json', 'slack-manifest.json', 'tsconfig.json'],
  ...['deploy', 'dist', 'handlers', 'layers', 'models', 'src'],
]
/** Files and folders that another test file is writing have a process id as suffix until they are complete. */
const isComplete = (path: string) => !/(?<!\.so)\.\d+$/.test(path)
/** Of docker, only `push` has an effect: ECR has an image with the tag `latest`. */
const DOCKER = `#!/bin/sh
case "$1" in
  login) cat > /dev/null ;;
  push) aws ecr put-image --repository-name glimpse --image-tag latest --image-manifest '${JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
    config: {
      mediaType: 'application/vnd.docker.container.image.v1+json',
      size: 2,
      digest: `sha256:${'ab'.repeat(32)}`,
    },
    layers: [],
  })}' ;;
esac
echo "docker $*" >> docker.log
`
/** npm's would first install the clone, which is not where its packages are. */
const NPX = `#!/bin/sh
case "$1" in
  glimpse) shift; exec node dist/cli/main.js "$@" ;;
  *) command="$1"; shift; exec "node_modules/.bin/$command" "$@" ;;
esac
`
/** Version 1 of AWS's command line, the one of PyPI, takes the address of SQS from no variable. */
const AWS = `#!/bin/sh
PATH="\${PATH#*:}" exec aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"
`
/** Four packagings and three deployments take one or two minutes. */
const HANGS_MS = 900_000
let env: NodeJS.ProcessEnv
let moto: Moto
let account: NewAccount
let clone: string
let s3: S3Client

beforeAll(async () => {
  moto = await startMoto(({ endpoint, credentials, region }) =>
    new S3Client({ endpoint, credentials, region, forcePathStyle: true }).send(new ListBucketsCommand({})),
  )
  account = await openNewAccount(moto.options)
  const { credentials } = moto.options
  s3 = new S3Client({ endpoint: account.url, credentials, region: 'eu-central-1', forcePathStyle: true })
  clone = await mkdtemp(join(tmpdir(), 'glimpse-clone-'))
  for (const name of FILES)
    await cp(join(ROOT, name), join(clone, name), { recursive: true, filter: isComplete })
  await symlink(join(ROOT, 'node_modules'), join(clone, 'node_modules'))
  for (const [name, script] of Object.entries({ aws: AWS, docker: DOCKER, npx: NPX })) {
    await writeFile(join(clone, name), script)
    await chmod(join(clone, name), 0o755)
  }
  env = {
    PATH: `${clone}:${process.env['PATH']}`,
    HOME: clone,
    AWS_ENDPOINT_URL: account.url,
    AWS_ACCESS_KEY_ID: credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_PAGER: '',
  }
})
afterAll(async () => {
  account?.close()
  moto?.stop()
  await rm(clone, { recursive: true, force: true })
})

/** Runs a script in the clone. @returns what it printed. @throws with that when it fails */
async function run(script: string): Promise<string> {
  const bash = spawn('bash', ['-c', script], { cwd: clone, env, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<number | null>((resolve) => bash.once('close', resolve))
  const [stdout, stderr] = await Promise.all([text(bash.stdout), text(bash.stderr)])
  expect(await ended, `${stdout}\n${stderr}`).toBe(0)
  return stdout
}
/** `store` asks for a value. */
const stored = (name: string) => [`store ${name}`, `store ${name} <<< "value-of-${name}"`] as const
/** Writes the settings of a yaml block to the stage's file; one without a value is the image that was printed. */
const writeSettings = (yaml: string) =>
  Object.entries(parse(yaml) as Record<string, string | null>)
    .map(
      ([key, value]) =>
        `sed -i '/^${key}:/d' deploy/stages/prod.yml; echo "${key}: ${value ?? '$REGISTRY/glimpse@$DIGEST'}" >> deploy/stages/prod.yml`,
    )
    .join('\n')

test('docs/deploy.md, from a new account to the endpoint of BLIP-2', { timeout: HANGS_MS }, async () => {
  const page = scriptOf(
    'deploy.md',
    ['## First deployment', '## What it costs'],
    [
      // The clone has its packages. moto's list of instances has no g5.
      ['npm ci', `printf "httpConcurrency: ''\\ninstance: ml.g4dn.xlarge\\n" >> deploy/stages/prod.yml`],
      ['aws configure', ''],
      // moto has no HTTP API.
      ['curl "$API', ''],
      ['curl -H', ''],
      stored('SLACK_BOT_TOKEN'),
      stored('SLACK_SIGNING_SECRET'),
      stored('DISCORD_TOKEN'),
      stored('DISCORD_PUBLIC_KEY'),
      // They call Discord, Slack and the hub.
      ['GLIMPSE_SECRETS=/glimpse/prod npx glimpse serve', ''],
      ['GLIMPSE_SECRETS=/glimpse/prod npx glimpse doctor', ''],
      [
        'npx glimpse pull Salesforce/blip2-opt-2.7b',
        'npx glimpse build models/pico --out ./blip2-int4 --precision int4 --for gpu',
      ],
    ],
    writeSettings,
  )
  const printed = await run(page)
  // The manifest has the address of the API.
  expect(printed).toContain(`"url": "${API}/slack/events"`)
  expect(printed).toContain(`${API}/discord/interactions`)
  // deploy-check before the first deployment, and before that of BLIP-2: nothing is wrong, all of it was asked.
  const checks = [...printed.matchAll(/^(ok|warn|fail|skipped) +(\w+) /gm)].map(
    ([, status, name]) => `${name} ${status}`,
  )
  const same = ['params ok', 'keep ok', 'alarms warn', 'secrets ok', 'concurrency ok']
  expect(checks).toEqual([
    ...[...same, 'quota skipped', 'image skipped', 'model skipped'],
    ...[...same, 'quota ok', 'image ok', 'model ok'],
  ])
  const built = await readFile(join(clone, 'docker.log'), 'utf8')
  expect(built).toMatch(/^docker build --platform linux\/amd64 --provenance=false .* \.$/m)

  const after = `export AWS_DEFAULT_REGION=eu-central-1
    aws ssm get-parameters-by-path --path /glimpse/prod --query 'Parameters[].Name' --output text
    aws lambda list-functions --query 'Functions[].FunctionName' --output text
    aws sagemaker list-endpoints --query 'Endpoints[].EndpointStatus' --output text`
  const [parameters, functions, endpoint] = (await run(after))
    .trim()
    .split('\n')
    .map((line) => line.split('\t').sort())
  expect(parameters).toEqual(
    [
      'DISCORD_PUBLIC_KEY',
      'DISCORD_TOKEN',
      'GLIMPSE_API_TOKEN',
      'SLACK_BOT_TOKEN',
      'SLACK_SIGNING_SECRET',
    ].map((name) => `/glimpse/prod/${name}`),
  )
  expect(functions).toEqual(
    ['answer', 'brake', 'discord', 'http', 'notice', 'slack'].map((name) => `glimpse-prod-${name}`),
  )
  expect(endpoint).toEqual(['InService'])
})

test('the commands of docs/operate.md about the dead-letter queue, the tokens and the budget', {
  timeout: HANGS_MS,
}, async () => {
  const to = (from: string, until: string, instead: readonly Instead[] = []) =>
    scriptOf('operate.md', [from, until], instead)
  const variables = to('# Running Glimpse', '## The first five minutes')
  const printed = await run(
    [
      variables,
      to('## Rotate a token', '## The dead-letter queue', [
        ["printf 'token: ' && read -rs TOKEN", 'TOKEN=xoxb-new'],
      ]),
      `aws sqs send-message --queue-url "$DEAD" --message-group-id a --message-deduplication-id b --message-body secret`,
      // moto has no move tasks.
      to('## The dead-letter queue', '## Change the model', [
        ['aws sqs start-message-move-task', 'echo "from $(arn "$DEAD") to $(arn "$QUESTIONS")"'],
      ]),
      to('## The budget is exceeded', '## Alarms', [
        // Other variants of gpu; moto has no scaling of functions.
        ['aws lambda put-function-concurrency --function-name glimpse-prod-model', ''],
        ['aws lambda put-function-scaling-config', ''],
      ]),
      'aws lambda get-function-concurrency --function-name glimpse-prod-http',
      'aws ssm get-parameter --with-decryption --name /glimpse/prod/SLACK_BOT_TOKEN --query Parameter.Value',
    ].join('\n'),
  )
  expect(printed).toContain('"ApproximateNumberOfMessages": "1"')
  expect(printed).toMatch(/"tries": "1"/)
  expect(printed).toMatch(
    /from arn:aws:sqs:.*:glimpse-prod-dead-questions.fifo to arn:aws:sqs:.*-questions.fifo/,
  )
  expect(printed).not.toContain('secret')
  expect(printed.match(/"Description": "tokens of \d{4}-/g)).toHaveLength(4)
  expect(printed).toMatch(/"ReservedConcurrentExecutions": 5\s*}\s*"xoxb-new"\s*$/)
})

test('the queue and the bucket of docs/kubernetes.md are those that glimpse doctor accepts', {
  timeout: HANGS_MS,
}, async () => {
  const printed = await run(
    [
      'export AWS_REGION=eu-central-1 AWS_DEFAULT_REGION=eu-central-1',
      scriptOf(
        'kubernetes.md',
        ['## Steps', '## What happens when'],
        [
          ['npx glimpse pull', ''],
          ['npx glimpse push ./blip2-int4', ''],
          ['kubectl', ''],
        ],
      ),
      'export GLIMPSE_QUEUE=$(aws sqs get-queue-url --queue-name glimpse-questions.fifo --query QueueUrl --output text)',
      'bucket=$(aws s3api list-buckets --query "Buckets[?starts_with(Name, \'glimpse-state-statebucket\')].Name" --output text)',
      'GLIMPSE_STATE=s3://$bucket/state npx glimpse doctor || true',
    ].join('\n'),
  )
  expect(printed).toMatch(/^StateBucket\tglimpse-state-statebucket-/m)
  expect(printed).toMatch(/^ok +state +s3:/m)
  expect(printed).toMatch(
    /^warn +queue +glimpse-questions.fifo: 0 waiting, .*\n +-> Enough for `glimpse work`/m,
  )
})

test('a rollback to the first deployment: its template names files of its own only, and they are there', async () => {
  const { Buckets = [] } = await s3.send(new ListBucketsCommand({}))
  const Bucket = Buckets.map(({ Name }) => Name!).find((name) => name.includes('serverlessdeploymentbucket'))!
  const { Contents = [] } = await s3.send(new ListObjectsV2Command({ Bucket }))
  const keys = Contents.map(({ Key }) => Key!)
  const templates = keys.filter((key) => key.endsWith('/compiled-cloudformation-template.json')).sort()
  // The first, the one after the token, and BLIP-2.
  expect(templates).toHaveLength(3)
  for (const Key of templates) {
    const stored = await s3.send(new GetObjectCommand({ Bucket, Key }))
    const template = await stored.Body!.transformToString()
    const named = [...template.matchAll(/"S3Key":"([^"]+)"/g)].map(([, key]) => key!)
    expect(named.length).toBeGreaterThan(6)
    const folder = Key.slice(0, Key.lastIndexOf('/') + 1)
    expect(named.filter((key) => !key.startsWith(folder) || !keys.includes(key))).toEqual([])
  }
  const [, first] = /\/(\d+)-[^/]*\/compiled/.exec(templates[0]!)!
  const rollback = 'npx serverless rollback --stage prod --timestamp'
  const printed = await run(
    scriptOf('deploy.md', ['## Rolling back', '## Design decisions'], [[rollback, `${rollback} ${first}`]]),
  )
  expect(printed).toContain(`Timestamp: ${first}`)
})

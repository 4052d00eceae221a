// Packages serverless.yml offline for each value of param gpu, and checks the template for cost and security.

import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { namesIn, type Packaged, packageFor, ROOT } from './packaged.ts'

export const PLACES = ['embedded', 'sagemaker', 'lambda', 'url', 'none'] as const
type Gpu = (typeof PLACES)[number]

/** Actions that support no resource ("Actions, resources, and condition keys for Amazon ECR"). */
const WITHOUT_RESOURCE = new Set(['ecr:GetAuthorizationToken'])
/** Resource suffixes that may have a wildcard: log streams of a log group ("Actions, resources ... CloudWatch Logs"); objects of a bucket below a prefix. */
const MAY_END_IN_STAR = /^(logs|s3):/

interface Statement {
  Effect: string
  Action: string | string[]
  Resource: unknown
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [value])
/** Returns `{Fn::Sub: text}` and plain text as text, and references by name. */
const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value ?? '').replace(/^\{"Fn::Sub":"(.*)"\}$/, '$1')

function statementsOf({ of }: Packaged): (Statement & { of: string })[] {
  const roles = of('AWS::IAM::Role').flatMap(([name, { Properties }]) =>
    (Properties['Policies'] ?? []).map(
      ({ PolicyDocument }: { PolicyDocument: { Statement: Statement[] } }) => ({
        name,
        statements: PolicyDocument.Statement,
      }),
    ),
  )
  const policies = of('AWS::IAM::Policy').map(([name, { Properties }]) => ({
    name,
    statements: Properties['PolicyDocument'].Statement as Statement[],
  }))
  return [...roles, ...policies].flatMap(({ name, statements }) =>
    statements.map((statement: Statement) => ({ ...statement, of: name })),
  )
}

export function describePackage(gpu: Gpu): void {
  describe(`gpu: ${gpu}`, () => {
    let packaged: Packaged

    beforeAll(async () => {
      packaged = await packageFor(gpu)
    })
    afterAll(() => rm(dirname(packaged.folder), { recursive: true, force: true }))

    const functions = () => packaged.of('AWS::Lambda::Function')

    test('has the four functions, each with a role of its own', () => {
      const names = functions().map(([name]) => name)
      expect(names).toEqual(
        expect.arrayContaining(['Http', 'Slack', 'Discord', 'Answer'].map((name) => `${name}LambdaFunction`)),
      )
      const roles = functions().map(([, { Properties }]) => JSON.stringify(Properties['Role']))
      expect(new Set(roles).size).toBe(functions().length)
    })

    test('sends each address to the function that answers it', () => {
      const routes = packaged.of('AWS::ApiGatewayV2::Route').map(([, { Properties }]) => {
        const integration = JSON.stringify(Properties['Target']).match(/HttpApiIntegration(\w+)"/)?.[1]
        return `${Properties['RouteKey']} -> ${integration}`
      })
      expect(routes.sort()).toEqual([
        'GET /healthz -> Http',
        'GET /readyz -> Http',
        'GET /v1/{proxy+} -> Http',
        'POST /discord/interactions -> Discord',
        'POST /slack/events -> Slack',
        'POST /v1/{proxy+} -> Http',
      ])
    })

    test('packs into each function its own files, and into the layers what runs on Linux', async () => {
      const packed = (name: string) => namesIn(join(packaged.folder, `${name}.zip`))
      const common = ['dist/package.json']
      const { BESIDE } = (await import(join(ROOT, 'deploy/bundle.mjs'))) as { BESIDE: string[] }
      const withModel = (name: string) => [name, ...BESIDE].map((each) => `dist/lambda/${each}.js`).sort()
      expect(BESIDE.length).toBeGreaterThan(0)
      expect(await packed('http')).toEqual([...withModel('http'), ...common])
      expect(await packed('slack')).toEqual(['dist/lambda/slack.js', ...common])
      expect(await packed('discord')).toEqual(['dist/lambda/discord.js', ...common])
      expect(await packed('answer')).toEqual([...withModel('answer'), ...common])
      const native = (await packed('onnxruntime')).filter((name) => /\.(so|node|dll|dylib)/.test(name))
      const bin = 'nodejs/node_modules/onnxruntime-node/bin/napi-v6/linux/x64'
      expect(native).toEqual([`${bin}/libonnxruntime.so.1`, `${bin}/onnxruntime_binding.node`])
      expect((await packed('sharp')).some((name) => name.includes('@img/sharp-linux-x64/'))).toBe(true)
      expect(await packed('model')).toContain('glimpse/model/manifest.json')
    })

    test('allows no action and no resource by a star, but where AWS has no other', () => {
      const statements = statementsOf(packaged)
      expect(statements.length).toBeGreaterThan(10)
      for (const { Action, Resource, of } of statements) {
        for (const action of list(Action).map(String)) {
          expect(action, of).not.toContain('*')
          for (const resource of list(Resource).map(textOf)) {
            if (resource === '*') expect(WITHOUT_RESOURCE, of).toContain(action)
            else if (resource.includes('*')) {
              expect(resource, of).toMatch(/[^*]+[/:]\*$/)
              expect(action, of).toMatch(MAY_END_IN_STAR)
            }
          }
        }
      }
    })

    test('lets each function read only the secrets that it needs', () => {
      const read = (role: string) =>
        statementsOf(packaged)
          .filter(
            ({ of, Action }) =>
              of === role && list(Action).some((action) => String(action).startsWith('ssm:')),
          )
          .flatMap(({ Resource }) => list(Resource).map((resource) => textOf(resource).split('/').at(-1)))
      expect(read('HttpRole')).toEqual(['GLIMPSE_API_TOKEN'])
      expect(read('SlackRole')).toEqual(['SLACK_BOT_TOKEN', 'SLACK_SIGNING_SECRET'])
      expect(read('DiscordRole')).toEqual(['DISCORD_PUBLIC_KEY'])
      expect(read('AnswerRole')).toEqual(['SLACK_BOT_TOKEN', 'DISCORD_TOKEN', 'GLIMPSE_API_TOKEN'])
    })

    test('lets a question be invisible for six times as long as its function may take, and gives it up after five', () => {
      const { Properties: queue } = packaged.resources['Questions']!
      const { Properties: answer } = packaged.resources['AnswerLambdaFunction']!
      expect(answer['Environment'].Variables['GLIMPSE_QUEUE']).toEqual({ Ref: 'Questions' })
      expect(queue['VisibilityTimeout']).toBeGreaterThanOrEqual(6 * answer['Timeout'])
      expect(queue['MessageRetentionPeriod']).toBeGreaterThan(queue['VisibilityTimeout'])
      expect(queue['RedrivePolicy'].maxReceiveCount).toBe(5)
      expect(queue['RedrivePolicy'].deadLetterTargetArn).toEqual({ 'Fn::GetAtt': ['DeadQuestions', 'Arn'] })
      const [[, mapping] = expect.fail('There is none.')] = packaged.of('AWS::Lambda::EventSourceMapping')
      expect(mapping.Properties['FunctionResponseTypes']).toEqual(['ReportBatchItemFailures'])
      expect(mapping.Properties['ScalingConfig']).toEqual({ MaximumConcurrency: 4 })
    })

    test('ends an ask before the function that waits for it', () => {
      for (const [name, { Properties }] of functions()) {
        const deadline = Number(Properties['Environment'].Variables['GLIMPSE_DEADLINE_MS'] ?? 45_000)
        if (/Http|Answer/.test(name)) expect(deadline, name).toBeLessThan(1_000 * Properties['Timeout'])
      }
      // The API waits at most 30 s.
      expect(packaged.resources['HttpLambdaFunction']!.Properties['Timeout']).toBeLessThan(30)
    })

    test('encrypts what is kept, lets nobody in from outside, and refuses plain connections', () => {
      for (const [name, { Properties }] of packaged.of('AWS::SQS::Queue')) {
        expect(Properties['SqsManagedSseEnabled'], name).toBe(true)
      }
      const bucket = packaged.resources['StateBucket']!
      expect(bucket.DeletionPolicy).toBe('Retain')
      expect(bucket.Properties['BucketEncryption']).toBeDefined()
      for (const [name, { Properties }] of packaged.of('AWS::S3::Bucket')) {
        expect(Object.values(Properties['PublicAccessBlockConfiguration']), name).toEqual([
          true,
          true,
          true,
          true,
        ])
      }
      for (const policy of ['StateBucketPolicy', 'QueuePolicy', 'ServerlessDeploymentBucketPolicy']) {
        const [statement] = packaged.resources[policy]!.Properties['PolicyDocument'].Statement
        expect(statement, policy).toMatchObject({ Effect: 'Deny' })
        expect(String(statement.Condition.Bool['aws:SecureTransport']), policy).toBe('false')
      }
    })

    test('takes away what is past its time, and never what people chose or the model', () => {
      const { Rules } = packaged.resources['StateBucket']!.Properties['LifecycleConfiguration'] as {
        Rules: { Prefix: string; ExpirationInDays?: number; AbortIncompleteMultipartUpload?: object }[]
      }
      const expires = Rules.filter(({ ExpirationInDays }) => ExpirationInDays !== undefined).map(
        ({ Prefix }) => Prefix,
      )
      for (const kept of ['state/automatic/x', 'state/opted-out/x', 'models/blip2/manifest.json']) {
        expect(
          expires.filter((prefix) => kept.startsWith(prefix)),
          kept,
        ).toEqual([])
      }
      for (const gone of [
        'state/jobs/x',
        'state/open/x',
        'state/conversations/x',
        'state/seen/queries/x/y',
        'uploads/x',
      ]) {
        expect(
          expires.some((prefix) => gone.startsWith(prefix)),
          gone,
        ).toBe(true)
      }
      expect(Rules.some((rule) => rule.Prefix === '' && rule.AbortIncompleteMultipartUpload)).toBe(true)
      // The rule must not delete state before GLIMPSE_KEEP_HOURS.
      const hours = Number(
        packaged.resources['AnswerLambdaFunction']!.Properties['Environment'].Variables['GLIMPSE_KEEP_HOURS'],
      )
      for (const { Prefix, ExpirationInDays } of Rules.filter(({ Prefix }) =>
        /conversations|jobs|seen|open/.test(Prefix),
      )) {
        expect(ExpirationInDays! * 24, Prefix).toBeGreaterThan(hours)
      }
    })

    test('holds no secret in an environment, and says where they are', () => {
      for (const [name, { Properties }] of functions()) {
        const { Variables } = Properties['Environment'] as { Variables: Record<string, unknown> }
        for (const [variable, value] of Object.entries(Variables)) {
          expect(variable, name).not.toMatch(/TOKEN|SECRET$|PASSWORD|PUBLIC_KEY|_KEY$/)
          expect(textOf(value), `${name} ${variable}`).not.toMatch(/xox[a-z]-|xapp-|ssm:|AKIA/)
        }
        expect(Variables['GLIMPSE_SECRETS'], name).toBe('/glimpse/dev')
      }
    })

    test('keeps no log for ever', () => {
      const groups = packaged.of('AWS::Logs::LogGroup')
      expect(groups.length).toBeGreaterThanOrEqual(functions().length + 1)
      for (const [name, { Properties }] of groups) expect(Properties['RetentionInDays'], name).toBe(14)
    })

    test('bounds what strangers can cost', () => {
      const { DefaultRouteSettings } = packaged.resources['HttpApiStage']!.Properties
      expect(DefaultRouteSettings).toMatchObject({ ThrottlingRateLimit: 10, ThrottlingBurstLimit: 20 })
      expect(packaged.resources['HttpLambdaFunction']!.Properties['ReservedConcurrentExecutions']).toBe(5)
      expect(packaged.resources['Budget']).toMatchObject({ Condition: 'HasAlarmEmail' })
    })

    test('says of every alarm what it means and does something about it', () => {
      const alarms = packaged.of('AWS::CloudWatch::Alarm')
      expect(alarms.length).toBeGreaterThanOrEqual(10)
      for (const [name, { Properties }] of alarms) {
        expect(Properties['AlarmActions'].length, name).toBeGreaterThan(0)
        expect(Properties['AlarmDescription'].length, name).toBeGreaterThan(10)
      }
      const { DashboardBody } = packaged.resources['Dashboard']!.Properties
      expect(JSON.parse(DashboardBody['Fn::Sub'][0]).widgets.length).toBeGreaterThan(4)
    })

    test('is not deployed with what only stands in for the settings of whoever deploys it', async () => {
      const { default: Plugin } = (await import(join(ROOT, 'deploy/plugin.mjs'))) as {
        default: new (serverless: object) => { checkPlaceholders(): void }
      }
      const provider = { compiledCloudFormationTemplate: { Resources: packaged.resources } }
      const check = () => new Plugin({ service: { provider } }).checkPlaceholders()
      if (gpu === 'embedded') expect(check).not.toThrow()
      else expect(check).toThrow(/--param (image|engineUrl)=/)
    })

    test('tags what is paid for', () => {
      for (const [name, { Properties }] of functions()) {
        expect(Properties['Tags'], name).toContainEqual({ Key: 'service', Value: 'glimpse' })
      }
    })

    test('refers to nothing that is not there', () => {
      const names = new Set(Object.keys(packaged.resources))
      const wanted = new Set<string>()
      const visit = (value: unknown): void => {
        if (typeof value !== 'object' || value === null) return
        for (const [key, inner] of Object.entries(value)) {
          if (key === 'Ref') wanted.add(String(inner))
          else if (key === 'Fn::GetAtt') wanted.add(String(list(inner)[0]))
          else if (key === 'Fn::Sub') {
            const [text, own] = (Array.isArray(inner) ? inner : [inner, {}]) as [
              string,
              Record<string, unknown>,
            ]
            for (const [, name] of text.matchAll(/\$\{([^}]+)\}/g))
              if (!(name! in own)) wanted.add(name!.split('.')[0]!)
            visit(own)
          } else visit(inner)
        }
      }
      visit(packaged.resources)
      expect([...wanted].filter((name) => !name.startsWith('AWS::') && !names.has(name))).toEqual([])
    })

    if (gpu === 'sagemaker')
      test('sleeps at zero instances and wakes by a rule of its own', () => {
        const { resources } = packaged
        expect(resources['ModelInstances']!.Properties).toMatchObject({ MinCapacity: 0, MaxCapacity: 1 })
        const follows =
          resources['ModelFollowsBacklog']!.Properties['TargetTrackingScalingPolicyConfiguration']
        expect(follows.CustomizedMetricSpecification.MetricName).toBe('ApproximateBacklogSizePerInstance')
        expect(resources['ModelWanted']!.Properties['MetricName']).toBe('HasBacklogWithoutCapacity')
        expect(resources['ModelWanted']!.Properties['AlarmActions']).toEqual([{ Ref: 'ModelWakes' }])
        const [variant] = resources['ModelConfig']!.Properties['ProductionVariants']
        expect(variant.InferenceAmiVersion).toBe('al2-ami-sagemaker-inference-gpu-2-1')
        expect(resources['AnswerLambdaFunction']!.Properties['Layers']).toEqual([])
      })

    if (gpu === 'lambda')
      test('asks for a GPU the way Lambda gives one: an x86_64 image with a capacity provider', () => {
        const { Properties } = packaged.resources['ModelLambdaFunction']!
        expect(Properties).toMatchObject({
          PackageType: 'Image',
          Architectures: ['x86_64'],
          AcceleratorConfig: { AcceleratorMemorySize: 16 },
          FunctionScalingConfig: { MinExecutionEnvironments: 0, MaxExecutionEnvironments: 1 },
        })
        expect(
          Properties['CapacityProviderConfig'].LambdaManagedInstancesCapacityProviderConfig,
        ).toBeDefined()
      })

    if (gpu === 'none')
      test('runs the container without a GPU, two at once at most', () => {
        const { Properties } = packaged.resources['ModelLambdaFunction']!
        expect(Properties).toMatchObject({
          PackageType: 'Image',
          MemorySize: 10240,
          ReservedConcurrentExecutions: 2,
        })
        expect(packaged.resources['ModelLambdaFunctionUrl']).toBeDefined()
      })

    if (gpu === 'embedded')
      test('runs no container: the model is in the layers of the function that answers', () => {
        const { Properties } = packaged.resources['AnswerLambdaFunction']!
        expect(Properties['Layers']).toHaveLength(3)
        expect(Properties['Environment'].Variables['GLIMPSE_MODEL']).toBe('/opt/glimpse/model')
      })
  })
}

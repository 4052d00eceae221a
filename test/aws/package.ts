// Packages serverless.yml offline for each value of param gpu, and checks the template for cost and security.

import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { namesIn, type Packaged, packageFor, type Resource, ROOT } from './packaged.ts'

export const PLACES = ['embedded', 'sagemaker', 'lambda', 'url', 'none'] as const
type Gpu = (typeof PLACES)[number]

/** Actions that support no resource ("Actions, resources, and condition keys for Amazon ECR"). */
const WITHOUT_RESOURCE = new Set(['ecr:GetAuthorizationToken'])
/**
 * Actions whose resources may end in a wildcard: log streams of a log group, objects of a bucket below a prefix, and scalable
 * targets, whose ids AWS chooses.
 */
const MAY_END_IN_STAR = /^(logs|s3|application-autoscaling):/

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

    test('has five functions of every variant, each with its own role, and no published version', () => {
      expect(packaged.of('AWS::Lambda::Version')).toEqual([])
      const names = functions().map(([name]) => name)
      expect(names).toEqual(
        expect.arrayContaining(
          ['Http', 'Slack', 'Discord', 'Answer', 'Brake'].map((name) => `${name}LambdaFunction`),
        ),
      )
      const roles = functions().map(([, { Properties }]) => JSON.stringify(Properties['Role']))
      expect(new Set(roles).size).toBe(functions().length)
    })

    test('routes each path to its function', () => {
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

    test('each function has only its own files, and the layers have binaries for Linux only', async () => {
      const packed = (name: string) => namesIn(join(packaged.folder, `${name}.zip`))
      const common = ['dist/package.json']
      const { BESIDE } = (await import(join(ROOT, 'deploy/bundle.mjs'))) as { BESIDE: string[] }
      const withModel = (name: string) => [name, ...BESIDE].map((each) => `dist/lambda/${each}.js`).sort()
      expect(BESIDE.length).toBeGreaterThan(0)
      expect(await packed('http')).toEqual([...withModel('http'), ...common])
      expect(await packed('slack')).toEqual(['dist/lambda/slack.js', ...common])
      expect(await packed('discord')).toEqual(['dist/lambda/discord.js', ...common])
      expect(await packed('brake')).toEqual(['dist/lambda/brake.js', ...common])
      expect(await packed('answer')).toEqual([...withModel('answer'), ...common])
      const native = (await packed('onnxruntime')).filter((name) => /\.(so|node|dll|dylib)/.test(name))
      const bin = 'nodejs/node_modules/onnxruntime-node/bin/napi-v6/linux/x64'
      expect(native).toEqual([`${bin}/libonnxruntime.so.1`, `${bin}/onnxruntime_binding.node`])
      expect((await packed('sharp')).some((name) => name.includes('@img/sharp-linux-x64/'))).toBe(true)
      expect(await packed('model')).toContain('glimpse/model/manifest.json')
    })

    test('no action has a wildcard, and no resource except where AWS requires one', () => {
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

    test('each function may read only the secrets that it needs', () => {
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

    test('the visibility timeout is 10 s longer than the timeout of the function, and five receives are the most', () => {
      const { Properties: queue } = packaged.resources['Questions']!
      const { Properties: answer } = packaged.resources['AnswerLambdaFunction']!
      expect(answer['Environment'].Variables['GLIMPSE_QUEUE']).toEqual({ Ref: 'Questions' })
      expect(queue['VisibilityTimeout']).toBe(answer['Timeout'] + 10)
      expect(queue['MessageRetentionPeriod']).toBeGreaterThan(queue['VisibilityTimeout'])
      expect(queue['RedrivePolicy'].maxReceiveCount).toBe(5)
      expect(queue['RedrivePolicy'].deadLetterTargetArn).toEqual({ 'Fn::GetAtt': ['DeadQuestions', 'Arn'] })
      const [[, mapping] = expect.fail('No event source mapping')] = packaged
        .of('AWS::Lambda::EventSourceMapping')
        .filter(([, { Properties }]) => JSON.stringify(Properties['EventSourceArn']).includes('Questions'))
      expect(mapping.Properties['FunctionResponseTypes']).toEqual(['ReportBatchItemFailures'])
      expect(mapping.Properties['ScalingConfig']).toEqual({ MaximumConcurrency: 4 })
    })

    test('the deadline of a request ends before the timeout of its function', () => {
      for (const [name, { Properties }] of functions()) {
        const deadline = Number(Properties['Environment'].Variables['GLIMPSE_DEADLINE_MS'] ?? 45_000)
        // With notices the deadline is the endpoint's; no function waits for it.
        const engine = JSON.stringify(Properties['Environment'].Variables['GLIMPSE_ENGINE'] ?? '')
        if (/Http|Answer/.test(name) && !engine.includes('notice=sns'))
          expect(deadline, name).toBeLessThan(1_000 * Properties['Timeout'])
      }
      // An HTTP API waits at most 30 s for an integration.
      expect(packaged.resources['HttpLambdaFunction']!.Properties['Timeout']).toBeLessThan(30)
    })

    test('encrypts stored data, blocks public access and refuses connections without TLS', () => {
      for (const [name, { Properties }] of packaged.of('AWS::SQS::Queue')) {
        expect(Properties['SqsManagedSseEnabled'], name).toBe(true)
      }
      const bucket = packaged.resources['StateBucket']!
      // Kept when the stack is deleted; a create that fails leaves none.
      expect(bucket.DeletionPolicy).toBe('RetainExceptOnCreate')
      expect(bucket.Properties['BucketEncryption']).toBeDefined()
      for (const [name, { Properties }] of packaged.of('AWS::S3::Bucket')) {
        expect(Object.values(Properties['PublicAccessBlockConfiguration']), name).toEqual([
          true,
          true,
          true,
          true,
        ])
      }
      const policies = ['StateBucketPolicy', 'QueuePolicy', 'ServerlessDeploymentBucketPolicy']
      for (const policy of [...policies, ...(gpu === 'sagemaker' ? ['NoticesPolicy'] : [])]) {
        const [statement] = packaged.resources[policy]!.Properties['PolicyDocument'].Statement
        expect(statement, policy).toMatchObject({ Effect: 'Deny' })
        expect(String(statement.Condition.Bool['aws:SecureTransport']), policy).toBe('false')
      }
    })

    test('expires temporary objects, never preferences and never the model', () => {
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
      for (const temporary of [
        'state/jobs/x',
        'state/open/x',
        'state/conversations/x',
        'state/posts/x',
        'state/holders/x',
        'state/limits/x',
        'state/welcomed/x',
        'state/seen/queries/x/y',
        'uploads/x',
      ]) {
        expect(
          expires.some((prefix) => temporary.startsWith(prefix)),
          temporary,
        ).toBe(true)
      }
      expect(Rules.some((rule) => rule.Prefix === '' && rule.AbortIncompleteMultipartUpload)).toBe(true)
      // The rule must not delete state before GLIMPSE_KEEP_HOURS.
      const hours = Number(
        packaged.resources['AnswerLambdaFunction']!.Properties['Environment'].Variables['GLIMPSE_KEEP_HOURS'],
      )
      for (const { Prefix, ExpirationInDays } of Rules.filter(({ Prefix }) =>
        /conversations|posts|holders|jobs|seen|open/.test(Prefix),
      )) {
        expect(ExpirationInDays! * 24, Prefix).toBeGreaterThan(hours)
      }
    })

    test('no environment holds a secret; GLIMPSE_SECRETS names where they are stored', () => {
      for (const [name, { Properties }] of functions()) {
        const { Variables } = Properties['Environment'] as { Variables: Record<string, unknown> }
        for (const [variable, value] of Object.entries(Variables)) {
          expect(variable, name).not.toMatch(/TOKEN|SECRET$|PASSWORD|PUBLIC_KEY|_KEY$/)
          expect(textOf(value), `${name} ${variable}`).not.toMatch(/xox[a-z]-|xapp-|ssm:|AKIA/)
        }
        const needsNone = /Brake|Notice|Model/.test(name)
        expect(Variables['GLIMPSE_SECRETS'], name).toBe(needsNone ? '' : '/glimpse/dev')
      }
    })

    test('logs are kept for 14 days', () => {
      const groups = packaged.of('AWS::Logs::LogGroup')
      expect(groups.length).toBeGreaterThanOrEqual(functions().length + 1)
      for (const [name, { Properties }] of groups) expect(Properties['RetentionInDays'], name).toBe(14)
    })

    test('limits the cost of unauthenticated requests: throttling, concurrency and a budget', () => {
      const { DefaultRouteSettings } = packaged.resources['HttpApiStage']!.Properties
      expect(DefaultRouteSettings).toMatchObject({ ThrottlingRateLimit: 10, ThrottlingBurstLimit: 20 })
      expect(packaged.resources['HttpLambdaFunction']!.Properties['ReservedConcurrentExecutions']).toBe(5)
    })

    test('every alarm has a description and an action, and the dashboard has widgets', () => {
      const alarms = packaged.of('AWS::CloudWatch::Alarm')
      expect(alarms.length).toBeGreaterThanOrEqual(10)
      for (const [name, { Properties }] of alarms) {
        expect(Properties['AlarmActions'].length, name).toBeGreaterThan(0)
        expect(Properties['AlarmDescription'].length, name).toBeGreaterThan(10)
      }
      const { DashboardBody } = packaged.resources['Dashboard']!.Properties
      expect(JSON.parse(DashboardBody['Fn::Sub'][0]).widgets.length).toBeGreaterThan(4)
    })

    test('refuses to deploy while a parameter still has its placeholder', async () => {
      const { default: Plugin } = (await import(join(ROOT, 'deploy/plugin.mjs'))) as {
        default: new (serverless: object) => { checkPlaceholders(): void }
      }
      const provider = { compiledCloudFormationTemplate: { Resources: packaged.resources } }
      const check = () => new Plugin({ service: { provider } }).checkPlaceholders()
      if (gpu === 'embedded') expect(check).not.toThrow()
      else expect(check).toThrow(/Set (image|engineUrl): .* in the file of the stage/)
    })

    test('every function has the tag service=glimpse', () => {
      for (const [name, { Properties }] of functions()) {
        expect(Properties['Tags'], name).toContainEqual({ Key: 'service', Value: 'glimpse' })
      }
    })

    test('every reference is to a resource of the template', () => {
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

    test('function URLs take signed requests only, of the roles that call them', () => {
      const urls = packaged.of('AWS::Lambda::Url')
      expect(urls).toHaveLength(gpu === 'lambda' || gpu === 'none' ? 1 : 0)
      for (const [name, { Properties }] of urls) expect(Properties['AuthType'], name).toBe('AWS_IAM')
      const open = packaged
        .of('AWS::Lambda::Permission')
        .filter(([, { Properties }]) => Properties['Principal'] === '*')
      expect(open).toEqual([])
      if (urls.length === 0) return
      const { Properties } = packaged.resources['CallsModel']!
      expect(Properties['Roles']).toEqual([{ Ref: 'AnswerRole' }, { Ref: 'HttpRole' }])
      const actions = Properties['PolicyDocument'].Statement.map(({ Action }: Statement) => Action)
      expect(actions).toEqual(['lambda:InvokeFunctionUrl', 'lambda:InvokeFunction'])
      expect(packaged.resources['ModelLambdaFunction']!.Properties['Environment'].Variables).toHaveProperty(
        'GLIMPSE_UPLOADS',
      )
    })

    test('an exceeded budget stops everything that costs, and the role of `brake` allows that alone', () => {
      const { Properties } = packaged.resources['BrakeLambdaFunction']!
      const plan = JSON.parse(Properties['Environment'].Variables['GLIMPSE_BRAKE'])
      const own = { none: ['glimpse-dev-model'] }[gpu as string] ?? []
      expect(plan).toEqual({
        functions: ['glimpse-dev-answer', 'glimpse-dev-http', ...own],
        ...(gpu === 'lambda' ? { managed: 'glimpse-dev-model' } : {}),
        ...(gpu === 'sagemaker' ? { variant: 'endpoint/glimpse-dev/variant/only' } : {}),
      })
      const allowed = statementsOf(packaged)
        .filter(({ of }) => of === 'BrakeRole' || of === 'BrakesModel')
        .flatMap(({ Action }) => list(Action).map(String))
      expect([...new Set(allowed)].sort()).toEqual(
        [
          'lambda:PutFunctionConcurrency',
          'logs:CreateLogStream',
          'logs:PutLogEvents',
          ...(gpu === 'lambda' ? ['lambda:PutFunctionScalingConfig'] : []),
          ...(gpu === 'sagemaker'
            ? [
                'application-autoscaling:RegisterScalableTarget',
                'sagemaker:DescribeEndpoint',
                'sagemaker:DescribeEndpointConfig',
                'sagemaker:UpdateEndpointWeightsAndCapacities',
              ]
            : []),
        ].sort(),
      )
      const [notification] = packaged.resources['Budget']!.Properties['NotificationsWithSubscribers']
      expect(notification.Subscribers).toEqual([{ SubscriptionType: 'SNS', Address: { Ref: 'BudgetTopic' } }])
      // It exists without an address for mails, too.
      expect(packaged.resources['Budget']!.Condition).toBeUndefined()
    })

    if (gpu === 'sagemaker' || gpu === 'lambda')
      test('more GPU hours than expected raise an alarm', () => {
        expect(packaged.resources['GpuHoursAlarm']!.Properties['AlarmActions']).toEqual([
          { Ref: 'AlarmTopic' },
        ])
      })

    if (gpu === 'sagemaker')
      test('the endpoint notifies the function `notice`, and no function waits for a result', () => {
        const { resources } = packaged
        const { OutputConfig } = resources['ModelConfig']!.Properties['AsyncInferenceConfig']
        expect(OutputConfig.NotificationConfig).toEqual({
          SuccessTopic: { Ref: 'NoticeTopic' },
          ErrorTopic: { Ref: 'NoticeTopic' },
        })
        expect(resources['NoticesOfTopic']!.Properties).toEqual({
          TopicArn: { Ref: 'NoticeTopic' },
          Protocol: 'sqs',
          Endpoint: { 'Fn::GetAtt': ['Notices', 'Arn'] },
          RawMessageDelivery: true,
        })
        const isNotices = ([, { Properties }]: [string, Resource]) =>
          JSON.stringify(Properties['EventSourceArn']).includes('Notices')
        const [source] = packaged.of('AWS::Lambda::EventSourceMapping').filter(isNotices)
        expect(JSON.stringify(source![1].Properties['FunctionName'])).toContain('NoticeLambdaFunction')
        // A notice whose function died is delivered again within a minute, and not while the function runs.
        const { VisibilityTimeout } = resources['Notices']!.Properties
        expect(VisibilityTimeout).toBeLessThan(60)
        expect(VisibilityTimeout).toBeGreaterThan(resources['NoticeLambdaFunction']!.Properties['Timeout'])
        expect(resources['AnswerLambdaFunction']!.Properties['Timeout']).toBe(50)
        // More can wait than one instance runs at once, so that the backlog exceeds the target.
        const { ClientConfig } = resources['ModelConfig']!.Properties['AsyncInferenceConfig']
        const follows =
          resources['ModelFollowsBacklog']!.Properties['TargetTrackingScalingPolicyConfiguration']
        expect(follows.TargetValue).toBeLessThan(ClientConfig.MaxConcurrentInvocationsPerInstance)
      })

    if (gpu === 'sagemaker')
      test('scales to zero instances, and from zero by an alarm of its own', () => {
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
      test('the GPU function is an x86_64 image with a capacity provider', () => {
        const { Properties } = packaged.resources['ModelLambdaFunction']!
        expect(Properties).toMatchObject({
          PackageType: 'Image',
          Architectures: ['x86_64'],
          AcceleratorConfig: { AcceleratorMemorySize: 16 },
          FunctionScalingConfig: { MinExecutionEnvironments: 0, MaxExecutionEnvironments: 1 },
        })
        // A g6.xlarge has 16 GiB and 4 vCPUs; the system needs a part.
        expect(Properties['MemorySize']).toBeLessThanOrEqual(14 * 1024)
        const { CapacityProviderScalingConfig } = packaged.resources['Capacity']!.Properties
        expect(CapacityProviderScalingConfig.MaxVCpuCount).toBe(4)
        expect(
          Properties['CapacityProviderConfig'].LambdaManagedInstancesCapacityProviderConfig,
        ).toBeDefined()
      })

    if (gpu === 'none')
      test('runs the container without a GPU, at most two at once', () => {
        const { Properties } = packaged.resources['ModelLambdaFunction']!
        expect(Properties).toMatchObject({
          PackageType: 'Image',
          MemorySize: 10240,
          ReservedConcurrentExecutions: 2,
        })
        expect(packaged.resources['ModelLambdaFunctionUrl']).toBeDefined()
      })

    if (gpu === 'embedded')
      test('runs no container: the model is in the layers of the function answer', () => {
        const { Properties } = packaged.resources['AnswerLambdaFunction']!
        expect(Properties['Layers']).toHaveLength(3)
        expect(Properties['Environment'].Variables['GLIMPSE_MODEL']).toBe('/opt/glimpse/model')
      })
  })
}

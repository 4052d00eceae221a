// Handlers of serverless.yml. package.long.test.ts tests the output of `npx serverless package`.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { ROOT } from './packaged.ts'

test('there are six handlers, each shorter than 40 lines', () => {
  const folder = join(ROOT, 'handlers')
  const lines = readdirSync(folder).map((file) => readFileSync(join(folder, file), 'utf8').split('\n').length)
  expect(lines).toHaveLength(6)
  expect(Math.max(...lines)).toBeLessThan(40)
})

interface Plugin {
  keepLayersWithDeployment(): void
}
type PluginClass = new (serverless: object) => Plugin
const { default: GlimpsePlugin } = (await import(join(ROOT, 'deploy/plugin.mjs'))) as { default: PluginClass }
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

const { default: settingsOf } = (await import(join(ROOT, 'deploy/settings.cjs'))) as {
  default: (given: object) => Promise<Record<string, unknown>>
}
const settings = (...param: string[]) =>
  settingsOf({ options: { param }, resolveVariable: async () => 'test' })

test('the parameters of a stage without a file are those of deploy/defaults.yml', async () => {
  expect(await settings()).toEqual(parse(read('deploy/defaults.yml')))
})

test.each([
  ['keepHours=49', 'Expected keepHours of at most expireDays (2 days) but got 49 hours'],
  ['keepHours=long', 'Expected keepHours to be a number of hours but got "long".'],
  ['image=x:latest', 'Expected image to be an image of ECR by its digest'],
  ['gpu=foo', 'Expected gpu to be embedded, lambda, none, sagemaker or url but got "foo".'],
  ['most=5', 'Expected most to be 1 to 4 but got "5".'],
  ['warmFrom=rate(1 day)', 'Expected both warmFrom and warmUntil but got one.'],
  ['keptHours=1', 'Expected a parameter of deploy/defaults.yml but got --param keptHours. Correct its name.'],
])('packaging refuses --param %s with its own words, without a stack', async (param, words) => {
  const error = await settings(param).catch((thrown: Error) => thrown)
  expect(error).toBeInstanceOf(Error)
  expect((error as Error).message).toContain(words)
  // `serverless` would print it.
  expect((error as Error).stack).toBeUndefined()
})

test('packaging names all wrong parameters at once', async () => {
  await expect(settings('most=5', 'warm=2')).rejects.toThrow(/warm to be 0 or 1.*\n.*most to be 1 to 4/)
})

test('with gpu=lambda a day has 24 GPU hours', async () => {
  const of = (hours: number) => settings('gpu=lambda', `gpuHoursADay=${hours}`)
  await expect(of(25)).rejects.toThrow('gpuHoursADay of at most 24 with gpu=lambda but got 25')
  await expect(of(24)).resolves.toBeDefined()
})

test('a template names the layers of its own deployment, which a rollback finds', async () => {
  class AwsCompileLayers {
    provider = { naming: { getLambdaLayerS3KeyOutputLogicalId: (name: string) => `${name}S3Key` } }
    /** osls: names the layers of an earlier deployment. */
    async compareWithLastLayer(_name: string): Promise<void> {
      throw new Error('It calls AWS')
    }
  }
  const plugins = [new AwsCompileLayers()]
  const compiledCloudFormationTemplate = { Outputs: { sharpS3Key: {}, StateBucket: {} } }
  const service = { provider: { compiledCloudFormationTemplate } }
  new GlimpsePlugin({ service, pluginManager: { plugins } }).keepLayersWithDeployment()
  await plugins[0]!.compareWithLastLayer('sharp')
  expect(compiledCloudFormationTemplate.Outputs).toEqual({ StateBucket: {} })
})

test('the log of the API has no address of a caller', () => {
  const { provider } = parse(read('serverless.yml'), { logLevel: 'silent' }) as {
    provider: { logs: { httpApi: { format: string } } }
  }
  const { format } = provider.logs.httpApi
  expect(
    Object.values(JSON.parse(format) as Record<string, string>).filter((value) =>
      /identity|sourceIp|userAgent/i.test(value),
    ),
  ).toEqual([])
})

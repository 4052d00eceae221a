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
  checkParams(): void
  keepLayersWithDeployment(): void
}
type PluginClass = new (serverless: object) => Plugin
const { default: GlimpsePlugin } = (await import(join(ROOT, 'deploy/plugin.mjs'))) as { default: PluginClass }
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const DIGEST = `glimpse@sha256:${'0'.repeat(64)}`
test.each([
  ['2 days', { keepHours: '48', expireDays: '2', image: DIGEST }, undefined],
  [
    'threads longer than the bucket keeps them',
    { keepHours: '49', expireDays: '2', image: DIGEST },
    /at most expireDays \(2 days\) but got 49 hours/,
  ],
  ['no number', { keepHours: 'long', expireDays: '2', image: DIGEST }, /but got long hours/],
  [
    'a tag',
    { keepHours: '24', expireDays: '2', image: 'glimpse:latest' },
    /by its digest .* but got glimpse:latest/,
  ],
])('packaging checks its parameters: %s', (_, checked, problem) => {
  const service = { custom: { checked }, functions: {}, resources: { Model: { Image: checked.image } } }
  const check = () => new GlimpsePlugin({ service }).checkParams()
  if (problem) expect(check).toThrow(problem)
  else expect(check).not.toThrow()
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

test('an image that no part of the variant uses may be the placeholder', () => {
  const checked = { keepHours: 24, expireDays: 2, image: 'glimpse:latest' }
  expect(() =>
    new GlimpsePlugin({ service: { custom: { checked }, functions: {}, resources: {} } }).checkParams(),
  ).not.toThrow()
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

test('a variant that there is not is named, with those that there are', async () => {
  const { createRequire } = await import('node:module')
  const resolve = createRequire(import.meta.url)('../../deploy/no-such-gpu.cjs') as (
    given: object,
  ) => Promise<unknown>
  await expect(resolve({ resolveVariable: async () => 'foo' })).rejects.toThrow(
    'one of embedded, lambda, none, sagemaker, url but got foo.',
  )
})

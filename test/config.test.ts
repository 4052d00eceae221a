import { expect, test } from 'vitest'
import { readConfig, secretsOf } from '../src/config.ts'

test('the port is the one of GLIMPSE_PORT, else of Lambda, else PORT, else 8080', () => {
  const lambda = { AWS_LAMBDA_HTTP_ENDPOINT: '127.0.0.1:9000' }
  expect(readConfig({}).port).toBe(8080)
  expect(readConfig({ PORT: '3000' }).port).toBe(3000)
  expect(readConfig({ PORT: '3000', ...lambda })).toMatchObject({ port: 9000, host: '127.0.0.1' })
  expect(readConfig({ PORT: '3000', GLIMPSE_PORT: '4000', ...lambda }).port).toBe(4000)
})

test('Lambda may write its endpoint with a scheme, and our own host comes first', () => {
  const config = (endpoint: string, host?: string) =>
    readConfig({ AWS_LAMBDA_HTTP_ENDPOINT: endpoint, GLIMPSE_HOST: host })
  expect(config('http://0.0.0.0:8000/')).toMatchObject({ host: '0.0.0.0', port: 8000 })
  expect(config('[::1]:8000')).toMatchObject({ host: '::1', port: 8000 })
  expect(config('http://127.0.0.1:80')).toMatchObject({ host: '127.0.0.1', port: 80 })
  expect(config('127.0.0.1:8000', '0.0.0.0')).toMatchObject({ host: '0.0.0.0', port: 8000 })
})

test('a bad value is told under the name it came by', () => {
  expect(() => readConfig({ PORT: 'x' })).toThrow(/PORT must be a whole number from 0 to 65535 but is "x"/)
  expect(() => readConfig({ AWS_LAMBDA_HTTP_ENDPOINT: 'x' })).toThrow(/AWS_LAMBDA_HTTP_ENDPOINT must be/)
})

test('secrets are the tokens and keys, and nothing else', () => {
  const env = { GLIMPSE_API_TOKEN: 'a-token', HF_TOKEN: 'hf-token', GLIMPSE_HOST: '0.0.0.0' }
  expect(secretsOf(readConfig(env)).sort()).toEqual(['a-token', 'hf-token'])
})

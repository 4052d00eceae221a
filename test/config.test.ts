// Environment -> settings: sources of the port and host, errors, secrets, service links.

import { describe, expect, test } from 'vitest'
import { type Config, readConfig, SETTINGS, secretsOf } from '../src/config.ts'

test('the port is GLIMPSE_PORT, else of AWS_LAMBDA_HTTP_ENDPOINT, else PORT, else 8080', () => {
  const lambda = { AWS_LAMBDA_HTTP_ENDPOINT: '127.0.0.1:9000' }
  expect(readConfig({}).port).toBe(8080)
  expect(readConfig({ PORT: '3000' }).port).toBe(3000)
  expect(readConfig({ PORT: '3000', ...lambda })).toMatchObject({ port: 9000, host: '127.0.0.1' })
  expect(readConfig({ PORT: '3000', GLIMPSE_PORT: '4000', ...lambda }).port).toBe(4000)
})

test('AWS_LAMBDA_HTTP_ENDPOINT may have a scheme, and GLIMPSE_HOST overrides its host', () => {
  const config = (endpoint: string, host?: string) =>
    readConfig({ AWS_LAMBDA_HTTP_ENDPOINT: endpoint, GLIMPSE_HOST: host })
  expect(config('http://0.0.0.0:8000/')).toMatchObject({ host: '0.0.0.0', port: 8000 })
  expect(config('[::1]:8000')).toMatchObject({ host: '::1', port: 8000 })
  expect(config('http://127.0.0.1:80')).toMatchObject({ host: '127.0.0.1', port: 80 })
  expect(config('127.0.0.1:8000', '0.0.0.0')).toMatchObject({ host: '0.0.0.0', port: 8000 })
})

test('an invalid value is reported with the variable that holds it', () => {
  expect(() => readConfig({ PORT: 'x' })).toThrow(/PORT must be a whole number from 0 to 65535 but is "x"/)
  expect(() => readConfig({ AWS_LAMBDA_HTTP_ENDPOINT: 'x' })).toThrow(/AWS_LAMBDA_HTTP_ENDPOINT must be/)
})

test('secretsOf returns only tokens and keys', () => {
  const env = { GLIMPSE_API_TOKEN: 'a-token', HF_TOKEN: 'hf-token', GLIMPSE_HOST: '0.0.0.0' }
  expect(secretsOf(readConfig(env)).sort()).toEqual(['a-token', 'hf-token'])
})

test('a secret has no line feed, which a file of secrets leaves at its end', () => {
  expect(readConfig({ GLIMPSE_API_TOKEN: 'a-token\n' }).apiToken).toBe('a-token')
})

test.each(Object.entries(SETTINGS))('%s accepts its documented default as a value', (name, setting) => {
  const key = name as keyof Config
  expect(readConfig({ [setting.env]: setting.defaultText })[key]).toBe(readConfig({})[key])
})

describe('a service link of Kubernetes or docker --link', () => {
  const linksOf = (name: string) => ({
    [`${name}_SERVICE_HOST`]: '10.0.0.1',
    [`${name}_SERVICE_PORT`]: '8080',
    [`${name}_SERVICE_PORT_HTTP_METRICS`]: '9090',
    [`${name}_PORT`]: 'tcp://10.0.0.1:8080',
    [`${name}_PORT_8080_TCP`]: 'tcp://10.0.0.1:8080',
    [`${name}_PORT_8080_TCP_PROTO`]: 'tcp',
    [`${name}_PORT_8080_TCP_PORT`]: '8080',
    [`${name}_PORT_8080_TCP_ADDR`]: '10.0.0.1',
    [`${name}_PORT_53_UDP`]: 'udp://[fd00::1]:53',
    [`${name}_PORT_53_UDP_ADDR`]: 'fd00::1',
    [`${name}_NAME`]: '/web/glimpse',
    [`${name}_ENV_NODE_OPTIONS`]: '--import a\n--import b',
  })

  test.each(['GLIMPSE', 'GLIMPSE_WORKER', 'GLIMPSE_MAX_QUEUE'])('named %s is ignored', (name) => {
    expect(readConfig(linksOf(name))).toEqual(readConfig({}))
    expect(readConfig({ ...linksOf(name), PORT: '3000' }).port).toBe(3000)
  })

  test.each([
    ['GLIMPSE_PORT', '10.0.0.1:8080'],
    ['GLIMPSE_PORT', 'tcp://10.0.0.1'],
    ['GLIMPSE_HTTP_PORT', '8080'],
    ['GLIMPSE_PORT_8080', 'tcp://10.0.0.1:8080'],
    ['GLIMPSE_SERVICE_HOST', 'glimpse.example'],
    ['GLIMPSE_HOSTS', '10.0.0.1'],
    ['GLIMPSE_NAME', 'blip2'],
  ])('%s=%s is not one and is reported', (name, value) => {
    expect(() => readConfig({ [name]: value })).toThrow(name)
  })
})

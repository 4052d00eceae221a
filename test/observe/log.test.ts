// Lines of the log: their form, their ids, and what they never contain.

import { afterEach, expect, test } from 'vitest'
import { UpstreamError } from '../../src/errors.ts'
import { configureLog, log, redactValues, scrub, withIds } from '../../src/observe/log.ts'

afterEach(() => configureLog('text'))

function capture(format: 'text' | 'json') {
  const lines: string[] = []
  configureLog(format, { write: (line) => void lines.push(line) })
  return lines
}

test('JSON: one object a line, with the ids of what it happened to', () => {
  const lines = capture('json')
  withIds({ request_id: 'r1' }, () => withIds({ job_id: 'j1' }, () => log.info('asked', { pictures: 2 })))
  const { time, ...line } = JSON.parse(lines[0]!)
  expect(new Date(time).getTime()).toBeGreaterThan(0)
  expect(line).toEqual({ level: 'info', event: 'asked', pictures: 2, request_id: 'r1', job_id: 'j1' })
})

test('a Glimpse error is logged with its code, a bug with its stack', () => {
  const lines = capture('json')
  log.warn('slack_failed', new UpstreamError('slack_failed', 'Expected Slack to answer.'))
  log.error('broken', new TypeError('no'))
  const [known, bug] = lines.map((line) => JSON.parse(line))
  expect(known).toMatchObject({ level: 'warn', code: 'slack_failed', error: 'Expected Slack to answer.' })
  expect(known.stack).toBeUndefined()
  expect(bug).toMatchObject({ level: 'error', code: 'internal', error: 'no' })
  expect(bug.stack).toContain('TypeError')
})

test('text: the same for people', () => {
  const lines = capture('text')
  log.info('ready', { model: 'pico' })
  expect(lines[0]).toMatch(/^\d{4}-\S+ info ready model="pico"\n$/)
})

test.each([
  ['token xoxb-12-ab_C in it', 'token [secret] in it'],
  ['Authorization: Bearer abcdefgh.ijk', 'Authorization: Bearer [secret]'],
  [
    'GET https://bucket.s3.amazonaws.com/k?X-Amz-Signature=abc failed',
    'GET https://bucket.s3.amazonaws.com/k?[...] failed',
  ],
])('%s', (text, clean) => {
  expect(scrub(text)).toBe(clean)
})

test('secrets of the settings are kept, in causes and stacks too', () => {
  const lines = capture('json')
  redactValues(['s3cr3t-value', ''])
  log.error('broken', new Error('with s3cr3t-value', { cause: new Error('s3cr3t-value') }))
  expect(lines[0]).not.toContain('s3cr3t-value')
  expect(lines[0]).toContain('[secret]')
})

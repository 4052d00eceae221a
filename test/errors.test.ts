// The table of error codes: which errors compile, their HTTP status and retry, and errors received from another process.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  BusyError,
  CODES,
  deserializeError,
  type ErrorKind,
  httpMeaningOf,
  isGlimpseError,
  RequestError,
  serializeError,
} from '../src/errors.ts'

const SRC = join(import.meta.dirname, '../src')
const ALL = Object.entries(CODES).flatMap(([kind, codes]) =>
  Object.entries(codes).map(([code, status]) => ({ kind: kind as ErrorKind, code, status })),
)

test('a code that the table does not have for the class does not compile', () => {
  // @ts-expect-error a code of no class
  expect(new RequestError('no_such_code', 'words')).toBeInstanceOf(Error)
  // @ts-expect-error a code of BusyError
  expect(new RequestError('deadline', 'words')).toBeInstanceOf(Error)
  expect(httpMeaningOf(new BusyError('deadline', 'words'))).toEqual({ status: 504, retry: true })
})

test('src uses every code of the table', () => {
  const text = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && path !== 'errors.ts')
    .map((path) => readFileSync(join(SRC, path), 'utf8').replaceAll(/[!=]== '\w+'/g, ''))
    .join('\n')
  expect(ALL.filter(({ code }) => !text.includes(`'${code}'`))).toEqual([])
})

test('every error keeps its class, code, message, cause and status between processes', () => {
  for (const { kind, code, status } of ALL) {
    const arrived = deserializeError({ kind, code, message: 'words', cause: 'why' })
    expect(serializeError(arrived)).toEqual({ kind, code, message: 'words', cause: 'why' })
    expect([isGlimpseError(arrived), httpMeaningOf(arrived).status]).toEqual([true, status])
  }
})

test.each([
  ['that does not exist', 'no_such_code'],
  ['of another kind', 'deadline'],
  ['that every object has', 'constructor'],
])('a received error with a code %s becomes a plain error that names the code', (_, code) => {
  const arrived = deserializeError({ kind: 'request', code, message: 'words' })
  expect(isGlimpseError(arrived)).toBe(false)
  expect(arrived.message).toBe(`Expected a code of errors.ts for request but got ${code}: words`)
  expect(httpMeaningOf(arrived)).toEqual({ status: 500, retry: false })
})

test('busy and upstream errors are retried, except a cancelled request', () => {
  const retried = ALL.filter(
    ({ kind, code }) => httpMeaningOf(deserializeError({ kind, code, message: '' })).retry,
  ).map(({ code }) => code)
  const passing = [...Object.keys(CODES.busy), ...Object.keys(CODES.upstream)]
  expect(retried).toEqual(passing.filter((code) => code !== 'cancelled'))
})

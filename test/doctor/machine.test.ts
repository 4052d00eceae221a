// The doctor's findings about the machine.

import { createServer } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  checkAccess,
  checkClock,
  checkMemory,
  checkNode,
  checkPort,
  checkProcessor,
} from '../../src/doctor/machine.ts'
import { memoryLimit } from '../../src/memory.ts'
import { describeProcessor, prepackSettings, thisProcessor } from '../../src/run/cpu.ts'
import { httpStub } from './http-stub.ts'

test.each([
  ['18.20.0', 'fail'],
  ['20.18.3', 'fail'],
  ['20.19.0', 'warn'],
  ['22.11.0', 'ok'],
  ['24.0.0', 'ok'],
])('Node %s: %s', (version, status) => {
  expect(checkNode(version).status).toBe(status)
})

describe('the processor', () => {
  const info = (flags: string) => `processor\t: 0\nflags\t\t: ${flags}\nbugs\t\t: x\n`

  test.each([
    ['fpu sse4_2', 'warn', 'no AVX2; set x64quantprecision=1'],
    ['fpu avx2 fma', 'warn', 'no 8-bit dot products; set x64quantprecision=1'],
    ['avx2 avx512f avx512_vnni', 'ok', '8-bit dot products (avx512_vnni)'],
    ['avx2 avx_vnni', 'ok', '8-bit dot products (avx_vnni)'],
  ])('with %s: %s', (flags, status, words) => {
    const finding = checkProcessor(describeProcessor(info(flags), 'x64'), 2)
    expect([finding.status, finding.found]).toEqual([status, `x64, 2 cores, ${words}`])
  })

  test('of ARM, which lists Features in place of flags and saturates nothing', () => {
    const arm = (features: string) => describeProcessor(`Features\t: ${features}\n`, 'arm64')
    expect(checkProcessor(arm('fp asimd asimddp'), 4).status).toBe('ok')
    expect(checkProcessor(arm('fp asimd asimddp i8mm'), 4).found).toContain('(i8mm)')
    expect(checkProcessor(arm('fp asimd'), 1)).toMatchObject({
      status: 'warn',
      found: 'arm64, 1 core, no 8-bit dot products',
    })
  })

  test('is skipped without /proc/cpuinfo, where 8-bit products of x86 are kept exact, and found on this machine', () => {
    expect(checkProcessor(describeProcessor(undefined, 'arm64'), 8).status).toBe('skipped')
    expect(prepackSettings(describeProcessor(undefined, 'arm64'))).toEqual({})
    expect(prepackSettings(describeProcessor(undefined, 'x64'))).toEqual({ x64quantprecision: '1' })
    expect(thisProcessor()).toMatchObject({ arch: process.arch })
  })
})

test('memory must hold the weights and 700 MB beside them', () => {
  expect(checkMemory(3e9, 1.8e9).status).toBe('ok')
  const small = checkMemory(2e9, 1.8e9)
  expect([small.status, small.todo]).toEqual(['warn', expect.stringContaining('2500 MB')])
  expect(checkMemory(2e9, undefined).status).toBe('skipped')
  expect(memoryLimit()).toBeGreaterThan(1e8)
})

describe('the port', () => {
  test('that no program uses is free', async () => {
    expect((await checkPort('127.0.0.1', 0)).status).toBe('ok')
  })

  test.each([
    'no HTTP',
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno',
    'HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"alive":',
  ])('that another program uses fails: it answers %j', async (words) => {
    const server = createServer((socket) => socket.end(words))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const { port } = server.address() as { port: number }
    const { status, found, todo } = await checkPort('127.0.0.1', port)
    expect([status, found, todo]).toEqual([
      'fail',
      expect.stringContaining('taken by another'),
      expect.stringContaining('GLIMPSE_PORT'),
    ])
  })

  test('that a running Glimpse uses passes', async () => {
    const url = await httpStub(({ url }) => ({
      status: url === '/healthz' ? 200 : 404,
      body: { alive: true },
    }))
    expect((await checkPort('127.0.0.1', Number(new URL(url).port))).status).toBe('ok')
  })

  test('on an address of another machine fails', async () => {
    expect((await checkPort('203.0.113.1', 8080)).status).toBe('fail')
  })
})

test('a public address without a token gives a warning', () => {
  expect(checkAccess({ host: '127.0.0.1', apiToken: '' }).status).toBe('ok')
  expect(checkAccess({ host: '0.0.0.0', apiToken: '' }).status).toBe('warn')
  expect(checkAccess({ host: '0.0.0.0', apiToken: 'a-token' }).status).toBe('ok')
})

describe('the clock', () => {
  const at = Date.parse('2026-11-25T12:00:00Z')
  const service = () => httpStub(() => ({ headers: { date: new Date(at).toUTCString() } }))

  test.each([
    [0, 'ok'],
    [-29_000, 'ok'],
    [31_000, 'warn'],
    [-301_000, 'fail'],
  ])('%i ms off: %s', async (offMs, status) => {
    expect((await checkClock(await service(), () => at + offMs)).status).toBe(status)
  })

  test('is skipped if no service is set up, or it does not answer', async () => {
    expect((await checkClock(undefined)).status).toBe('skipped')
    expect((await checkClock('http://127.0.0.1:1/')).status).toBe('skipped')
  })
})

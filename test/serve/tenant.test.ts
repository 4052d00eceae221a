import { expect, test } from 'vitest'
import { tenantOf } from '../../src/serve/tenant.ts'

const of = (address: string | undefined, headers: Record<string, string> = {}, isTrusted = false) =>
  tenantOf({ address, headers: new Headers(headers), isTrusted })

test('a name counts from one who knows the token, and only when it is a name', () => {
  const named = { 'x-glimpse-tenant': 'team-7' }
  expect(of('203.0.113.7', named, true)).toBe('name team-7')
  expect(of('203.0.113.7', named)).toBe('address 203.0.113.7')
  expect(of('203.0.113.7', { 'x-glimpse-tenant': 'a b' }, true)).toBe('address 203.0.113.7')
})

test('behind a proxy it is what the nearest proxy saw, whatever was written before it', () => {
  const through = { 'x-forwarded-for': '1.2.3.4, 198.51.100.9' }
  for (const proxy of ['127.0.0.1', '::ffff:10.1.2.3', '172.31.0.1', '169.254.1.1', 'fd00::1', undefined])
    expect(of(proxy, through)).toBe('address 198.51.100.9')
  expect(of('10.0.0.1', { 'x-forwarded-for': 'nonsense' })).toBe('address 10.0.0.1')
})

test('from an address of the internet what it says of others is not believed', () => {
  expect(of('203.0.113.7', { 'x-forwarded-for': '198.51.100.9' })).toBe('address 203.0.113.7')
  expect(of('172.32.0.1', { 'x-forwarded-for': '198.51.100.9' })).toBe('address 172.32.0.1')
})

test('addresses of one network of IPv6 are one tenant', () => {
  const all = ['2001:db8:0:7::1', '2001:db8::7:1:2:3:4', '2001:0db8:0000:0007:ffff::9'].map((each) =>
    of(each),
  )
  expect(all).toEqual(Array(3).fill('address 2001:db8:0:7'))
  expect(of('2001:db8:0:8::1')).toBe('address 2001:db8:0:8')
})

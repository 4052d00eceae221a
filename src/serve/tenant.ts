// Who an ask is from, as far as taking turns goes: a name for each party that should get no more than its share.

import { isIP } from 'node:net'

export interface Caller {
  /** Of the connection: whoever spoke to us last. */
  address?: string
  headers: Headers
  /** Whether the token was sent that the operator set. */
  isTrusted: boolean
}

const NAME = /^[\w.@:-]{1,64}$/
/** Addresses that a proxy of the operator's has; one of anybody else's is not believed what it says of others. */
const PRIVATE =
  /^(127\.|10\.|192\.168\.|169\.254\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|::1$|f[cd]|fe80:)/i

/**
 * `X-Glimpse-Tenant` of one who knows the token, else the address: behind a proxy the one the nearest proxy saw, which is
 * the last of X-Forwarded-For. The ones before it anybody can write.
 */
export function tenantOf({ address = '', headers, isTrusted }: Caller): string {
  const named = headers.get('x-glimpse-tenant')
  if (isTrusted && named !== null && NAME.test(named)) return `name ${named}`
  const near = address.replace(/^::ffff:/i, '')
  const seen = headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() ?? ''
  const isBehindProxy = near === '' || PRIVATE.test(near)
  return `address ${networkOf(isBehindProxy && isIP(seen) !== 0 ? seen : near)}`
}

/** Whoever has one address of IPv6 has the 2^64 beside it as well. */
function networkOf(address: string): string {
  if (isIP(address) !== 6) return address
  // The URL parser writes an address in one way only (RFC 5952).
  const [head = '', tail] = new URL(`http://[${address.split('%')[0]}]`).hostname.slice(1, -1).split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail ? tail.split(':') : []
  const zeros = tail === undefined ? [] : Array<string>(8 - before.length - after.length).fill('0')
  return [...before, ...zeros, ...after].slice(0, 4).join(':')
}

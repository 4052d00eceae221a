// Headers and address of a request -> the name of its tenant, for fair admission (admission.ts).

import { isIP } from 'node:net'

interface Caller {
  /** The other end of the connection: the client or the nearest proxy. */
  address?: string
  headers: Headers
  /** Whether the request has the operator's token. */
  isTrusted: boolean
}

const NAME = /^[\w.@:-]{1,64}$/
/** Private ranges, where the operator's proxy connects from. X-Forwarded-For is trusted from these only. */
const PRIVATE =
  /^(127\.|10\.|192\.168\.|169\.254\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|::1$|f[cd]|fe80:)/i

/**
 * `X-Glimpse-Tenant` of a request with the token, else the client's address. Behind a proxy that is the last address of
 * X-Forwarded-For, which the nearest proxy wrote; clients can write the ones before it.
 */
export function tenantOf({ address = '', headers, isTrusted }: Caller): string {
  const named = headers.get('x-glimpse-tenant')
  if (isTrusted && named !== null && NAME.test(named)) return `name ${named}`
  const peer = address.replace(/^::ffff:/i, '')
  const forwarded = headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() ?? ''
  const isBehindProxy = peer === '' || PRIVATE.test(peer)
  return `address ${networkOf(isBehindProxy && isIP(forwarded) !== 0 ? forwarded : peer)}`
}

/** An IPv6 client usually owns its whole /64, so tenants are keyed by /64. */
function networkOf(address: string): string {
  if (isIP(address) !== 6) return address
  // The URL parser normalizes addresses (RFC 5952).
  const [head = '', tail] = new URL(`http://[${address.split('%')[0]}]`).hostname.slice(1, -1).split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail ? tail.split(':') : []
  const zeros = tail === undefined ? [] : Array<string>(8 - before.length - after.length).fill('0')
  return [...before, ...zeros, ...after].slice(0, 4).join(':')
}

// Accepts requests of programs and of the page that this server serves. Refuses those of other web pages.
//
// Any web page can make its visitor's browser send requests to 127.0.0.1. Two checks prevent that:
// - Host must be known. With DNS rebinding evil.example resolves to 127.0.0.1, but the browser still sends
//   `Host: evil.example`. IP addresses cannot be rebound, so all are accepted. Health checks are routed before this check,
//   because platforms send any Host. Behind a domain (Cloud Run) the operator names it, or sets a token.
// - A write must come from the server's own page, by Origin and Sec-Fetch-Site (W3C Fetch Metadata). `same-site` is refused
//   too, because another port of localhost is the same site. Programs such as curl send neither header. hono's csrf checks
//   forms only.

import { isIP } from 'node:net'
import type { MiddlewareHandler } from 'hono'
import { cors } from 'hono/cors'
import { secureHeaders } from 'hono/secure-headers'
import { RequestError } from '../errors.ts'

const READS = new Set(['GET', 'HEAD'])
/** Values of Sec-Fetch-Site from the server's own page, from the address bar, and from programs. */
const OWN_SITES = new Set(['same-origin', 'none', undefined])
const [NONE, SELF] = ["'none'", "'self'"]

/**
 * @param names accepted hosts besides localhost and IP addresses; `*` accepts any
 * @param origins of other web pages that may write; `*` allows any
 */
export function hostAndOriginCheck(
  names: readonly string[],
  origins: readonly string[] = [],
): MiddlewareHandler {
  const known = new Set(['localhost', ...names.map((name) => name.toLowerCase())])
  return async (c, next) => {
    const host = (c.req.header('host') ?? new URL(c.req.url).host).toLowerCase()
    const name = hostname(host)
    if (!known.has('*') && !known.has(name) && !name.endsWith('.localhost') && isIP(name) === 0) {
      const message =
        'The Host header names a host this server does not accept. Use localhost or an IP address, or add the name to GLIMPSE_ALLOWED_HOSTS.'
      throw new RequestError('foreign_host', message)
    }
    const origin = c.req.header('origin')
    const isAllowed = origin !== undefined && (origins.includes('*') || origins.includes(origin))
    const isForeign = origin !== undefined && hostOf(origin) !== host
    const isOwnSite = OWN_SITES.has(c.req.header('sec-fetch-site'))
    if (!READS.has(c.req.method) && !isAllowed && (isForeign || !isOwnSite)) {
      const message =
        'The request comes from a web page of another origin. Use the page of this server or a program, or add the origin to GLIMPSE_CORS_ORIGINS.'
      throw new RequestError('foreign_origin', message)
    }
    await next()
  }
}

/** Lets web pages of these origins send requests and read the responses (Fetch standard, CORS). `*` allows any. */
export function crossOrigin(origins: readonly string[]): MiddlewareHandler {
  return cors({
    origin: origins.includes('*') ? '*' : [...origins],
    exposeHeaders: ['retry-after', 'server-timing', 'x-request-id', 'idempotent-replayed'],
    maxAge: 600,
  })
}

/** Use it first, so that error responses have the headers too. */
export function securityHeaders(): MiddlewareHandler {
  return secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: [NONE],
      scriptSrc: [SELF],
      styleSrc: [SELF],
      imgSrc: [SELF, 'blob:'],
      connectSrc: [SELF],
      baseUri: [NONE],
      formAction: [NONE],
      frameAncestors: [NONE],
    },
    xFrameOptions: 'DENY',
    // Only the operator knows whether the domain and its subdomains are served over TLS only.
    strictTransportSecurity: false,
  })
}

/** `[::1]:8080` -> `::1`, `localhost:8080` -> `localhost`; '' for an invalid host. */
function hostname(host: string): string {
  return URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, '') : ''
}

/** '' for `null`, the origin of files and sandboxed frames. */
function hostOf(origin: string): string {
  return URL.canParse(origin) ? new URL(origin).host : ''
}

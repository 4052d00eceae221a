// Who may speak to this server: programs, and the page it serves itself. No foreign web page.
//
// A web page anywhere can make its visitor's browser send requests to 127.0.0.1. Two checks close that door:
// - Host must be ours. With DNS rebinding evil.example resolves to 127.0.0.1, but the browser still sends
//   `Host: evil.example`. An address in digits cannot be rebound, so every one is taken.
//   Health checks come in before this one: they are asked under names nobody can list beforehand. SageMaker asks
//   /invocations by an address. Behind a domain (Cloud Run) the operator names it, or sets a token.
// - A write says where it came from (Origin, Sec-Fetch-Site; Fetch spec, "Sec-Fetch-Site"): only our own page.
//   `same-site` is refused too, because another port of localhost is the same site. curl sends neither header.

import { isIP } from 'node:net'
import type { MiddlewareHandler } from 'hono'
import { secureHeaders } from 'hono/secure-headers'
import { RequestError } from '../errors.ts'

const READS = new Set(['GET', 'HEAD'])

const [NONE, SELF] = ["'none'", "'self'"]

/** @param names host names this server is known by besides localhost and addresses; `*` takes any. */
export function hostAndOriginCheck(names: readonly string[]): MiddlewareHandler {
  const known = new Set(['localhost', ...names.map((name) => name.toLowerCase())])
  return async (c, next) => {
    const url = new URL(c.req.url)
    const host = (c.req.header('host') ?? url.host).toLowerCase()
    checkHost(host, known)
    if (!READS.has(c.req.method)) {
      checkOrigin(host, c.req.header('origin'), c.req.header('sec-fetch-site'))
    }
    await next()
  }
}

/** Outermost, so that a refusal carries the headers as well. */
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
    // Whether a domain and all below it are reached by TLS only is not ours to promise.
    strictTransportSecurity: false,
  })
}

function checkHost(host: string, known: ReadonlySet<string>): void {
  const name = hostname(host)
  if (known.has('*') || known.has(name) || name.endsWith('.localhost') || isIP(name) !== 0) return
  throw new RequestError(
    'foreign_host',
    'Expected the host to be localhost or a name this server knows but got another. ' +
      'If the name is yours, the operator adds it to the names of the server.',
  )
}

function checkOrigin(host: string, origin: string | undefined, site: string | undefined): void {
  const foreignOrigin = origin !== undefined && hostOf(origin) !== host
  const foreignSite = site !== undefined && site !== 'same-origin' && site !== 'none'
  if (!foreignOrigin && !foreignSite) return
  throw new RequestError(
    'foreign_origin',
    'A web page of another origin may not ask here. Open the page of this server itself, or ask from a program.',
  )
}

/** `[::1]:8080` -> `::1`, `localhost:8080` -> `localhost`; '' when it is no host at all. */
function hostname(host: string): string {
  return URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, '') : ''
}

/** '' for `null`, the origin of files and sandboxed frames. */
function hostOf(origin: string): string {
  return URL.canParse(origin) ? new URL(origin).host : ''
}

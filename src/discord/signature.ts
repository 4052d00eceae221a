// Whether a request comes from Discord: Ed25519 over the timestamp and the bytes as they came.
//
// Discord signs no nonce and names no window: one of 5 minutes both ways is ours, and a repeated interaction is answered
// once by its id. Source: docs.discord.com, "Setting up an endpoint: validating security request headers".

import { createPublicKey, verify } from 'node:crypto'
import { SetupError } from '../errors.ts'

export type IsSigned = (body: Uint8Array, headers: Headers, now: number) => boolean

const WINDOW_MS = 5 * 60_000
const KEY = /^[0-9a-f]{64}$/i
const SIGNATURE = /^[0-9a-f]{128}$/i

/** @throws SetupError `discord_public_key` for what is no key of Discord's */
export function signatureCheck(publicKey: string): IsSigned {
  if (!KEY.test(publicKey)) {
    throw new SetupError(
      'discord_public_key',
      'Expected the public key of the Discord application, 64 hexadecimal digits, but got something else. Copy it from ' +
        'https://discord.com/developers/applications (your application, General Information).',
    )
  }
  const x = Buffer.from(publicKey, 'hex').toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  return (body, headers, now) => {
    const signature = headers.get('x-signature-ed25519') ?? ''
    const timestamp = headers.get('x-signature-timestamp') ?? ''
    if (!SIGNATURE.test(signature) || !/^\d{1,12}$/.test(timestamp)) return false
    if (Math.abs(now - Number(timestamp) * 1000) > WINDOW_MS) return false
    const signed = Buffer.concat([Buffer.from(timestamp), body])
    return verify(null, signed, key, Buffer.from(signature, 'hex'))
  }
}

// Whether a request comes from Discord: Ed25519 over the timestamp and the raw body, at most 5 minutes old or early.
//
// Discord signs no nonce and names no time window. The 5 minutes are Glimpse's choice; a request that is repeated within
// them is answered once, by the interaction's id. Source: docs.discord.com, "Validating security request headers".

import { createPublicKey, verify } from 'node:crypto'
import { SetupError } from '../errors.ts'

const WINDOW_MS = 5 * 60_000

/** `publicKey`: 64 hexadecimal digits. @throws SetupError `discord_public_key` */
export function signatureCheck(publicKey: string, now: () => number = Date.now) {
  if (!/^[0-9a-f]{64}$/i.test(publicKey)) {
    throw new SetupError(
      'discord_public_key',
      `DISCORD_PUBLIC_KEY is no public key (${publicKey.length} characters). Expected 64 hexadecimal digits. Copy it from ` +
        'https://discord.com/developers/applications (your application, General Information).',
    )
  }
  const x = Buffer.from(publicKey, 'hex').toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  return (body: Uint8Array, headers: Headers): boolean => {
    const signature = headers.get('x-signature-ed25519') ?? ''
    const timestamp = headers.get('x-signature-timestamp') ?? ''
    if (!/^[0-9a-f]{128}$/i.test(signature) || !/^\d{1,12}$/.test(timestamp)) return false
    if (Math.abs(now() - Number(timestamp) * 1000) > WINDOW_MS) return false
    const signed = Buffer.concat([Buffer.from(timestamp), body])
    return verify(null, signed, key, Buffer.from(signature, 'hex'))
  }
}

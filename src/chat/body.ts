// What a platform sends to an address of ours, as it came over the wire: a signature is over these bytes.

/** Slack's and Discord's largest payloads are some hundred kilobytes. */
const MAX_BYTES = 1024 * 1024

/** Undefined when it is larger than anything they send. */
export async function readSignedBody(request: Request): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = []
  let sizeBytes = 0
  for await (const chunk of request.body ?? []) {
    sizeBytes += chunk.length
    if (sizeBytes > MAX_BYTES) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

// A double of Slack's Socket Mode after docs.slack.dev, "Using Socket Mode": apps.connections.open, hello, envelopes,
// acknowledgements. It has the Web API methods that one thread needs.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { type WebSocket, WebSocketServer } from 'ws'
import { until } from '../until.ts'
import { envelope } from './harness.ts'

export interface SocketDouble {
  apiUrl: string
  /** URL of the picture, for an event's `files`. */
  pictureUrl: string
  /** Arguments of chat.postMessage calls. */
  posted: Record<string, string>[]
  acknowledged: string[]
  /** Sends an event to the latest connection. */
  send(envelopeId: string, event: Record<string, unknown>): void
  /** Sends a text as it is. */
  sendText(text: string): void
  /** Closes the latest connection. From now on `apps.connections.open` is refused with this code; undefined: not. */
  drop(refusal?: string): void
  /** Number of connections so far. */
  connections(): number
  /** Resolves when `count` replies were posted. */
  replies(count: number): Promise<string[]>
  close(): void
}

export async function startSocketDouble(picture: Uint8Array): Promise<SocketDouble> {
  const posted: Record<string, string>[] = []
  const acknowledged: string[] = []
  let socket: WebSocket | undefined
  let refusal: string | undefined
  let connections = 0
  const server = createServer(async (request, response) => {
    const body = await text(request)
    if (request.url === '/a.png') return void response.end(picture)
    const answers: Record<string, () => object> = {
      '/api/auth.test': () => ({ user_id: 'UBOT', bot_id: 'BBOT' }),
      '/api/apps.connections.open': () =>
        refusal ? { ok: false, error: refusal } : { url: `${origin.replace('http', 'ws')}/link` },
      '/api/users.info': () => ({ user: { locale: 'de-DE' } }),
      '/api/chat.postMessage': () => ({
        ts: `9.${posted.push(Object.fromEntries(new URLSearchParams(body)))}`,
      }),
    }
    const answer = answers[request.url!]?.()
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(answer ? { ok: true, ...answer } : { ok: false, error: 'unknown_method' }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (connected) => {
    socket = connected
    connections++
    connected.on('message', (data) => acknowledged.push(JSON.parse(String(data)).envelope_id))
    connected.send(JSON.stringify({ type: 'hello', num_connections: 1, connection_info: { app_id: 'A0' } }))
  })
  return {
    apiUrl: `${origin}/api/`,
    pictureUrl: `${origin}/a.png`,
    posted,
    acknowledged,
    send(envelope_id, event) {
      const payload = envelope('T1', event)
      socket!.send(
        JSON.stringify({ envelope_id, type: 'events_api', accepts_response_payload: false, payload }),
      )
    },
    sendText: (frame) => socket!.send(frame),
    drop(code) {
      refusal = code
      socket!.close()
    },
    connections: () => connections,
    async replies(count) {
      await until(() => posted.length >= count)
      return posted.map((each) => each.text!)
    },
    close() {
      for (const each of sockets.clients) each.terminate()
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Returns a message with the picture that mentions the bot. */
export function mentionWith(pictureUrl: string): Record<string, unknown> {
  return {
    type: 'message',
    subtype: 'file_share',
    channel: 'C1',
    channel_type: 'channel',
    user: 'U1',
    ts: '1.0',
    text: '<@UBOT>',
    files: [{ id: 'F1', mimetype: 'image/png', url_private: pictureUrl }],
  }
}

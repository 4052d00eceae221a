// A signed HTTP request with an interaction -> its initial response, for commands without a connection (Lambda). An
// application receives its interactions either at this URL or over the gateway.

import { setTimeout as wait } from 'node:timers/promises'
import type { EventDeps } from '../chat/adapter.ts'
import { askAgain } from '../chat/again.ts'
import { problemText } from '../chat/problems.ts'
import type { QuestionSink } from '../chat/processor.ts'
import { signedWebhook } from '../chat/webhook.ts'
import { messagesFor } from '../i18n/languages.ts'
import { type InteractionDeps, initialResponse, messageResponse } from './initial-response.ts'
import { type Incoming, readInteraction } from './interactions.ts'
import type { DiscordPlatform } from './platform.ts'
import { signatureCheck } from './signature.ts'

interface EndpointOptions extends InteractionDeps {
  /** The application's public key, in hexadecimal. */
  publicKey: string
  sink: QuestionSink
  lastQuestion?: EventDeps['lastQuestion']
  platform: DiscordPlatform
  /** Replaced in tests. */
  sleep?: (ms: number) => Promise<unknown>
}

/** Time that Discord needs to read the response. Before, a reply has nothing to replace. */
const READ_MS = 300

/**
 * For POST at the "Interactions endpoint URL".
 * @throws SetupError `discord_public_key`
 * @example app.post('/discord/interactions', (c) => answer(c.req.raw))
 */
export function discordEndpoint(options: EndpointOptions): (request: Request) => Promise<Response> {
  const { sink, lastQuestion, platform, report, sleep = wait } = options
  // Discord sends bad signatures as a test, and removes a URL that accepts them.
  const isSigned = signatureCheck(options.publicKey)

  return signedWebhook('discord', isSigned, async (body) => {
    let incoming: Incoming
    try {
      incoming = readInteraction(JSON.parse(body), Date.now())
    } catch (error) {
      report(error)
      return new Response(null, { status: 400 })
    }
    if (incoming.kind !== 'question') return Response.json(await initialResponse(incoming, options))

    const { question, again } = incoming
    let responded = () => {}
    platform.waitFor(question.id, new Promise<void>((resolve) => (responded = resolve)))
    try {
      await sink.submit(
        again === undefined ? question : await askAgain(question, again.conversation, lastQuestion),
      )
      return Response.json(await initialResponse(incoming, options))
    } catch (error) {
      report(error)
      return Response.json(messageResponse(problemText(error, messagesFor(question.asker.locale))))
    } finally {
      void sleep(READ_MS).then(responded)
    }
  })
}

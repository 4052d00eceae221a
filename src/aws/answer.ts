// The function `answer`: receives questions from the queue, runs the model, posts the replies.
//
// A delivery that this function does not finish comes again: 5 s after the function must have ended when it dies, after a
// growing wait when it fails. Nothing but SQS keeps a question until it is claimed (chat/jobs.ts).

import type { SQSBatchResponse, SQSEvent } from 'aws-lambda'
import { openAnswering } from '../app/chat.ts'
import { readConfig } from '../config.ts'
import { UpstreamError } from '../errors.ts'
import { count } from '../observe/metrics.ts'
import { PLATFORMS } from '../platforms.ts'
import { questionHandler } from '../queue/handler.ts'
import { processPartialResponse } from '../queue/lambda-batch.ts'
import { withTimeout } from '../time.ts'
import {
  type Invocation,
  lazyWithRetry,
  loadFunctionConfig,
  openFunctionEngine,
  report,
} from './lifecycle.ts'
import { openVisibility } from './visibility.ts'

/** In ms. The bucket and the parameters answer within a second; a delivery does not wait for them any longer. */
const OPEN_MS = 10_000

/** @throws SetupError */
export async function openAnswer() {
  const secrets = PLATFORMS.flatMap((adapter) => adapter.secrets.reply)
  const config = await loadFunctionConfig([...secrets, 'GLIMPSE_API_TOKEN'])
  const engine = openFunctionEngine(config, true)
  return questionHandler(await openAnswering({ config, engine, report }))
}

/** Opens the bucket and the parameters in the init phase, and again at each delivery until that succeeds. */
export function answerFunction() {
  const answering = lazyWithRetry(openAnswer)
  const visibility = lazyWithRetry(async () => openVisibility(readConfig().queue))
  /** Resolves with the messages that SQS must deliver again. @throws SetupError `bad_settings` */
  return async (event: SQSEvent, invocation: Invocation): Promise<SQSBatchResponse> => {
    const remainingMs = invocation.getRemainingTimeInMillis()
    const endsAt = Date.now() + remainingMs
    const { hideWhileRunning, hideUntilRetry, show } = await visibility()
    const { Records } = event
    await Promise.all(Records.map((record) => hideWhileRunning(record, remainingMs)))
    try {
      const late = () => new UpstreamError('state_failed', `The bucket did not open within ${OPEN_MS} ms.`)
      const handler = await withTimeout(answering(), OPEN_MS, late)
      return await processPartialResponse(event, handler, {
        endsAt,
        onReturn: (record, outcome) => (outcome === 'poison' ? show(record) : hideUntilRetry(record)),
      })
    } catch (error) {
      report(error)
      count('glimpse_queue_messages_total', { outcome: 'again' }, Records.length)
      await Promise.all(Records.map(hideUntilRetry))
      return { batchItemFailures: Records.map(({ messageId }) => ({ itemIdentifier: messageId })) }
    }
  }
}

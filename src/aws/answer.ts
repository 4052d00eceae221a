// The function `answer`: receives questions from the queue, runs the model, posts the replies.
//
// A delivery that this function does not finish comes again: within 45 s when it dies, after a growing wait when it fails.
// Nothing but SQS keeps a question until it is claimed (chat/jobs.ts).

import type { SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda'
import { openAnswering } from '../app/chat.ts'
import { type Config, readConfig } from '../config.ts'
import { UpstreamError } from '../errors.ts'
import { count } from '../observe/metrics.ts'
import { PLATFORMS } from '../platforms.ts'
import { type DeliveryOutcome, questionHandler } from '../queue/handler.ts'
import { processPartialResponse } from '../queue/lambda-batch.ts'
import { type MessageHandler, parseBody } from '../queue/queue.ts'
import { parseEndpoint } from '../remote/endpoint.ts'
import { openWaiting, type Waiting } from '../remote/waiting.ts'
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
export async function openAnswer(): Promise<MessageHandler> {
  const secrets = PLATFORMS.flatMap((adapter) => adapter.secrets.reply)
  const config = await loadFunctionConfig([...secrets, 'GLIMPSE_API_TOKEN'])
  const engine = openFunctionEngine(config, true)
  const handle = questionHandler(await openAnswering({ config, engine, report }))
  const waiting = waitingOf(config)
  if (!waiting) return handle
  return async (message, endsAt) => {
    await handle(message, endsAt)
    if (message.kind === 'question') await waiting.clear(message.question.id).catch(report)
  }
}

/** The requests that an endpoint answers later; undefined with any other engine. */
function waitingOf({ engine }: Pick<Config, 'engine'>): Waiting | undefined {
  const endpoint = engine.startsWith('sagemaker:') ? parseEndpoint(engine) : undefined
  return endpoint?.hasNotice ? openWaiting(endpoint) : undefined
}

/** Opens the bucket and the parameters in the init phase, and again at each delivery until that succeeds. */
export function answerFunction() {
  const answering = lazyWithRetry(openAnswer)
  const shared = lazyWithRetry(async () => {
    const config = readConfig()
    return { config, waiting: waitingOf(config), visibility: openVisibility(config.queue) }
  })
  /** Resolves with the messages that SQS must deliver again. @throws SetupError `bad_settings` */
  return async (event: SQSEvent, invocation: Invocation): Promise<SQSBatchResponse> => {
    const endsAt = Date.now() + invocation.getRemainingTimeInMillis()
    const { config, waiting, visibility } = await shared()
    const { hideWhileRunning, stopHiding, hideUntilRetry, hideWhileWaiting, show } = visibility
    const { Records } = event
    const onReturn = async (record: SQSRecord, outcome: DeliveryOutcome) => {
      if (outcome === 'poison') return await show(record)
      if (outcome !== 'waiting' || !waiting) return await hideUntilRetry(record)
      const message = parseBody(record.body)
      if (message.kind !== 'question') return
      const { id } = message.question
      if (!(await waiting.hold(id, record.receiptHandle))) {
        await hideWhileWaiting(record, config.deadlineMs)
        // A notice may have shown the message before it was hidden.
        if (!(await waiting.isDone(id))) return
      }
      await show(record)
    }
    await Promise.all(Records.map((record) => hideWhileRunning(record, endsAt)))
    try {
      const late = () => new UpstreamError('state_failed', `The bucket did not open within ${OPEN_MS} ms.`)
      const handler = await withTimeout(answering(), OPEN_MS, late)
      return await processPartialResponse(event, handler, { endsAt, onReturn })
    } catch (error) {
      report(error)
      count('glimpse_queue_messages_total', { outcome: 'again' }, Records.length)
      await Promise.all(Records.map(hideUntilRetry))
      return { batchItemFailures: Records.map(({ messageId }) => ({ itemIdentifier: messageId })) }
    } finally {
      // A request that is cut off by the freeze of the process would fail in the next invocation.
      await Promise.all(Records.map(stopHiding))
    }
  }
}

// The function `notice`: an asynchronous SageMaker endpoint has answered or failed -> the question that waits for it is delivered
// again. Its notices come through a queue (SNS -> SQS), which delivers one again within 30 s when this function dies or fails;
// Lambda itself would repeat a call of SNS after a minute, twice. Source: SageMaker developer guide, "Check prediction results".

import type { SQSEvent } from 'aws-lambda'
import { z } from 'zod'
import { readConfig } from '../config.ts'
import { parseEndpoint } from '../remote/endpoint.ts'
import { openWaiting } from '../remote/waiting.ts'
import { lazyWithRetry, loadFunctionConfig } from './lifecycle.ts'
import { openVisibility } from './visibility.ts'

const noticeSchema = z.object({ inferenceId: z.string() })

/** Throws when the bucket or the queue fails: the notice is then delivered again. */
export function noticeFunction() {
  const opened = lazyWithRetry(async () => {
    await loadFunctionConfig([])
    const { engine, queue } = readConfig()
    return { waiting: openWaiting(parseEndpoint(engine)), visibility: openVisibility(queue) }
  })
  return async ({ Records }: SQSEvent): Promise<void> => {
    const { waiting, visibility } = await opened()
    for (const { body } of Records) {
      const { inferenceId } = noticeSchema.parse(JSON.parse(body))
      const receiptHandle = await waiting.messageOf(inferenceId)
      if (receiptHandle !== undefined) await visibility.show({ receiptHandle })
    }
  }
}

// The function `notice`: an asynchronous SageMaker endpoint has answered or failed (SNS) -> the question that waits for it is
// delivered again. Source: SageMaker developer guide, "Check prediction results".

import type { SNSEvent } from 'aws-lambda'
import { z } from 'zod'
import { readConfig } from '../config.ts'
import { parseEndpoint } from '../remote/endpoint.ts'
import { openWaiting } from '../remote/waiting.ts'
import { lazyWithRetry, loadFunctionConfig } from './lifecycle.ts'
import { openVisibility } from './visibility.ts'

const noticeSchema = z.object({ inferenceId: z.string() })

/** Throws when the bucket fails: SNS then invokes the function again. */
export function noticeFunction() {
  const opened = lazyWithRetry(async () => {
    await loadFunctionConfig([])
    const { engine, queue } = readConfig()
    return { waiting: openWaiting(parseEndpoint(engine)), visibility: openVisibility(queue) }
  })
  return async ({ Records }: SNSEvent): Promise<void> => {
    const { waiting, visibility } = await opened()
    for (const { Sns } of Records) {
      const { inferenceId } = noticeSchema.parse(JSON.parse(Sns.Message))
      const receiptHandle = await waiting.messageOf(inferenceId)
      if (receiptHandle !== undefined) await visibility.show({ receiptHandle })
    }
  }
}

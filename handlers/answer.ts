// SQS event with questions -> replies in their threads; the response names the failed messages, which SQS delivers again.

import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda'
import { openAnswer } from '../src/aws/answer.ts'
import { lazyWithRetry, withInvocation } from '../src/aws/lifecycle.ts'
import { processPartialResponse } from '../src/queue/lambda-batch.ts'

const answering = lazyWithRetry(openAnswer)

export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return await withInvocation(context, async () => {
    const { handleMessage, shortenVisibility } = await answering()
    const response = await processPartialResponse(event, handleMessage)
    await shortenVisibility(event, response)
    return response
  })
}

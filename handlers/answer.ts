// Questions from the queue -> replies in their threads. What failed is named, and comes again.

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

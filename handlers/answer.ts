// Questions from the queue -> replies in their threads. Failed messages are named in the response; SQS delivers them again.

import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda'
import { openAnswer } from '../src/aws/answer.ts'
import { lazyWithRetry, withInvocation } from '../src/aws/lifecycle.ts'
import { processPartialResponse } from '../src/queue/lambda-batch.ts'

const answering = lazyWithRetry(openAnswer)

export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return await withInvocation(context, async () => {
    const { handle, shortenVisibility } = await answering()
    const response = await processPartialResponse(event, handle)
    await shortenVisibility(event, response)
    return response
  })
}

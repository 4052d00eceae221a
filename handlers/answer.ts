// Questions from the queue -> replies in their threads. What failed is named, and comes again.

import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda'
import { openAnswer } from '../src/aws/answer.ts'
import { invoked, opened } from '../src/aws/lifecycle.ts'
import { processPartialResponse } from '../src/queue/lambda-batch.ts'

const answering = opened(openAnswer)

export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return await invoked(context, async () => {
    const { work, hasten } = await answering()
    const response = await processPartialResponse(event, work)
    await hasten(event, response)
    return response
  })
}

// Questions from the queue -> replies in their threads. Failed messages are named in the response; SQS delivers them again.

import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda'
import { answerFunction } from '../src/aws/answer.ts'
import { withInvocation } from '../src/aws/lifecycle.ts'

const answer = answerFunction()

export async function handler(event: SQSEvent, context: Context): Promise<SQSBatchResponse> {
  return await withInvocation(context, () => answer(event, context))
}

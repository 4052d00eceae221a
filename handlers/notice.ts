// A SageMaker endpoint's notice from its queue -> the question that waits for its result is delivered again.

import type { Context, SQSEvent } from 'aws-lambda'
import { withInvocation } from '../src/aws/lifecycle.ts'
import { noticeFunction } from '../src/aws/notice.ts'

const notice = noticeFunction()

export async function handler(event: SQSEvent, context: Context): Promise<void> {
  await withInvocation(context, () => notice(event))
}

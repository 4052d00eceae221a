// API Gateway event with a Slack event or command -> question in the queue -> acknowledgement to Slack.

import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import { lazyWithRetry, withInvocation } from '../src/aws/lifecycle.ts'
import { openSlack } from '../src/aws/slack.ts'

const app = lazyWithRetry(openSlack)

export async function handler(event: LambdaEvent, context: LambdaContext) {
  return await withInvocation(context, async () => await handle(await app())(event, context))
}

// Slack's events and commands from API Gateway -> the queue -> Slack's acknowledgement.

import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import { lazyWithRetry, withInvocation } from '../src/aws/lifecycle.ts'
import { openWebhook } from '../src/aws/webhook.ts'
import { slack } from '../src/slack/adapter.ts'

const app = lazyWithRetry(() => openWebhook(slack))

export async function handler(event: LambdaEvent, context: LambdaContext) {
  return await withInvocation(context, async () => await handle(await app())(event, context))
}

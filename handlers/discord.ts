// Discord's interactions from API Gateway -> the queue -> the deferred response ("is thinking").

import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import { lazyWithRetry, withInvocation } from '../src/aws/lifecycle.ts'
import { openWebhook } from '../src/aws/webhook.ts'
import { discord } from '../src/discord/adapter.ts'

const app = lazyWithRetry(() => openWebhook(discord))

export async function handler(event: LambdaEvent, context: LambdaContext) {
  return await withInvocation(context, async () => await handle(await app())(event, context))
}

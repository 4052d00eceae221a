// API Gateway event with a Discord command -> question in the queue -> the response "is thinking".

import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import { openDiscord } from '../src/aws/discord.ts'
import { lazyWithRetry, withInvocation } from '../src/aws/lifecycle.ts'

const app = lazyWithRetry(openDiscord)

export async function handler(event: LambdaEvent, context: LambdaContext) {
  return await withInvocation(context, async () => await handle(await app())(event, context))
}

// Discord's commands, as API Gateway hands them on -> the queue -> "is thinking".

import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import { openDiscord } from '../src/aws/discord.ts'
import { invoked, opened } from '../src/aws/lifecycle.ts'

const app = opened(openDiscord)

export async function handler(event: LambdaEvent, context: LambdaContext) {
  return await invoked(context, async () => await handle(await app())(event, context))
}

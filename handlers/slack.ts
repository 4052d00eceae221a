// Slack's events and commands, as API Gateway hands them on -> the queue -> Slack is told that they came.

import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import { invoked, opened } from '../src/aws/lifecycle.ts'
import { openSlack } from '../src/aws/slack.ts'

const app = opened(openSlack)

export async function handler(event: LambdaEvent, context: LambdaContext) {
  return await invoked(context, async () => await handle(await app())(event, context))
}

// API Gateway's event -> the HTTP app -> its response.

import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import { openHttp } from '../src/aws/http.ts'
import { invoked, opened } from '../src/aws/lifecycle.ts'

const app = opened(openHttp)

export async function handler(event: LambdaEvent, context: LambdaContext) {
  return await invoked(context, async () => await handle(await app())(event, context))
}

// API Gateway event -> the HTTP app -> its response.

import { handle, type LambdaContext, type LambdaEvent } from 'hono/aws-lambda'
import { openHttp } from '../src/aws/http.ts'
import { lazyWithRetry, withInvocation } from '../src/aws/lifecycle.ts'

const app = lazyWithRetry(openHttp)

export async function handler(event: LambdaEvent, context: LambdaContext) {
  return await withInvocation(context, async () => await handle(await app())(event, context))
}

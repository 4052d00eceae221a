// An exceeded budget's notice from SNS -> concurrency and instances go to zero.

import type { Context } from 'aws-lambda'
import { brake } from '../src/aws/brake.ts'
import { withInvocation } from '../src/aws/lifecycle.ts'
import { readConfig } from '../src/config.ts'

export async function handler(_event: unknown, context: Context): Promise<void> {
  await withInvocation(context, () => brake(readConfig().brake))
}

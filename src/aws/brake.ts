// The function `brake`: a budget is exceeded (SNS) -> nothing that costs runs any more. Concurrency of functions and instances of
// endpoints and capacity providers go to zero. Questions wait in the queue. docs/operate.md says how to release it.

import {
  ApplicationAutoScalingClient,
  RegisterScalableTargetCommand,
} from '@aws-sdk/client-application-auto-scaling'
import {
  LambdaClient,
  PutFunctionConcurrencyCommand,
  PutFunctionScalingConfigCommand,
} from '@aws-sdk/client-lambda'
import { z } from 'zod'
import { SetupError } from '../errors.ts'
import { log } from '../observe/log.ts'
import { report } from './lifecycle.ts'

/** What to stop: GLIMPSE_BRAKE, as JSON. */
const planSchema = z.strictObject({
  /** Names of functions whose reserved concurrency becomes 0. */
  functions: z.array(z.string()),
  /** Name of a function on managed instances. */
  managed: z.string().optional(),
  /** ResourceId of an endpoint's variant: `endpoint/glimpse-prod/variant/only`. */
  variant: z.string().optional(),
})

/**
 * Stops everything of the plan, also after one part has failed.
 * @throws Error when a part failed: SNS then invokes the function again
 */
export async function brake(text: string): Promise<void> {
  const { success, data: plan } = planSchema.safeParse(JSON.parse(text || 'null'))
  if (!success)
    throw new SetupError(
      'bad_settings',
      'Expected GLIMPSE_BRAKE to say what to stop, as deploy/budget.yml sets it.',
    )
  const lambda = new LambdaClient({})
  const scaling = new ApplicationAutoScalingClient({})
  const { functions, managed, variant } = plan
  const stops = functions.map(async (FunctionName) => {
    await lambda.send(new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: 0 }))
    log.info('stopped', { function: FunctionName })
  })
  if (managed !== undefined) {
    const FunctionScalingConfig = { MinExecutionEnvironments: 0, MaxExecutionEnvironments: 0 }
    const none = { FunctionName: managed, Qualifier: '$LATEST.PUBLISHED', FunctionScalingConfig }
    stops.push(
      lambda
        .send(new PutFunctionScalingConfigCommand(none))
        .then(() => log.info('stopped', { function: managed })),
    )
  }
  if (variant !== undefined) {
    const target = {
      ServiceNamespace: 'sagemaker' as const,
      ScalableDimension: 'sagemaker:variant:DesiredInstanceCount' as const,
      ResourceId: variant,
      MinCapacity: 0,
      MaxCapacity: 0,
      // Without this a schedule would start an instance in the morning.
      SuspendedState: { DynamicScalingOutSuspended: true, ScheduledScalingSuspended: true },
    }
    stops.push(
      scaling.send(new RegisterScalableTargetCommand(target)).then(() => log.info('stopped', { variant })),
    )
  }
  const failed = (await Promise.allSettled(stops)).filter((each) => each.status === 'rejected')
  for (const { reason } of failed) report(reason)
  if (failed.length > 0) throw new Error(`${failed.length} of ${stops.length} parts could not be stopped.`)
}

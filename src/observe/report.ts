// Error -> a log line, and a count in glimpse_faults_total unless the caller or the load caused it.

import { codeOf, isGlimpseError } from '../errors.ts'
import { log } from './log.ts'
import { count } from './metrics.ts'

/**
 * Returns an error handler. Setup errors, artifact errors and bugs are logged as errors, all others as warnings.
 * @example const report = reportAs('chat_failed'); work().catch(report)
 */
export function reportAs(event: string): (error: unknown) => void {
  return (error) => {
    const isWarning = isGlimpseError(error) && error.kind !== 'setup' && error.kind !== 'artifact'
    if (!isWarning || error.kind === 'upstream') count('glimpse_faults_total', { code: codeOf(error) })
    log[isWarning ? 'warn' : 'error'](event, error)
  }
}

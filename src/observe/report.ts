// Failures that are not the asker's: to the log, and counted.

import { isGlimpseError } from '../errors.ts'
import { log } from './log.ts'
import { count } from './metrics.ts'

/**
 * For whoever is told of failures one by one. What mends itself is a warning, what the operator or we must mend an error.
 * @example const report = reportAs('chat_failed'); work().catch(report)
 */
export function reportAs(event: string): (error: unknown) => void {
  return (error) => {
    const mendsItself = isGlimpseError(error) && error.kind !== 'setup' && error.kind !== 'artifact'
    // An asker's mistake, or a moment of too much, is nobody's fault.
    if (!mendsItself || error.kind === 'upstream')
      count('glimpse_faults_total', { code: isGlimpseError(error) ? error.code : 'internal' })
    log[mendsItself ? 'warn' : 'error'](event, error)
  }
}

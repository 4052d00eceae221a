// How a process that serves ends: told once, in order and with exit code 0; told twice, at once.

import { log } from '../observe/log.ts'

/** 128 and SIGTERM's number, as shells tell it. */
const KILLED = 143

/** @param stop must settle within what the platform grants, see server.ts */
export function stopOnSignals(stop: () => Promise<void>): void {
  let isStopping = false
  const onSignal = () => {
    if (isStopping) process.exit(KILLED)
    isStopping = true
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error('stop_failed', error)
        process.exit(1)
      },
    )
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
}

// SIGINT or SIGTERM -> an orderly stop with exit code 0. A second signal ends the process at once.

import { log } from '../observe/log.ts'

/** 128 + SIGTERM's number, the exit code that shells report. */
const KILLED = 143

/** @param stop must settle within the grace period that platforms grant, see serve/server.ts */
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

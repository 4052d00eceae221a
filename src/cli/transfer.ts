// How much of a large transfer is done: a bar where somebody looks, a line of the log every tenth where nobody does.

import { SingleBar } from 'cli-progress'
import { log } from '../observe/log.ts'
import { megabytes } from './build.ts'

export interface TransferBar {
  show(progress: { doneBytes: number; totalBytes: number }): void
  stop(): void
}

/** `event` names the log's lines. */
export function transferBar(event: string): TransferBar {
  const bar = new SingleBar({
    format: '{bar} {percentage}% | {doneMb} of {totalMb} MB | {rate} MB/s | {eta_formatted} left',
    stream: process.stderr,
    etaBuffer: 500,
  })
  let began: { at: number; doneBytes: number } | undefined
  let tenths = 0
  return {
    show({ doneBytes, totalBytes }) {
      if (!began) {
        began = { at: performance.now(), doneBytes }
        if (process.stderr.isTTY) bar.start(totalBytes, doneBytes, { doneMb: '', totalMb: '', rate: '' })
      }
      const seconds = (performance.now() - began.at) / 1000
      const rate = megabytes(seconds > 0 ? (doneBytes - began.doneBytes) / seconds : 0)
      const shown = { doneMb: megabytes(doneBytes), totalMb: megabytes(totalBytes), rate }
      if (process.stderr.isTTY) bar.update(doneBytes, shown)
      else if (Math.floor((10 * doneBytes) / totalBytes) > tenths) {
        tenths = Math.floor((10 * doneBytes) / totalBytes)
        log.info(event, { percent: 10 * tenths, of_mb: shown.totalMb, mb_per_s: rate })
      }
    },
    stop: () => bar.stop(),
  }
}

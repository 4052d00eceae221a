// A thread of the model process: kills the process once its parent is gone, even in the middle of a native call.

import { workerData } from 'node:worker_threads'

const INTERVAL_MS = 500

setInterval(() => {
  // An orphan is adopted by another process, so its parent id changes.
  if (process.ppid !== workerData) process.kill(process.pid, 'SIGKILL')
}, INTERVAL_MS)

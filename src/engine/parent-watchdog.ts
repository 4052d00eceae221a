// A thread of the model's process that ends the process once its parent is gone, even in the middle of a native call.

import { workerData } from 'node:worker_threads'

const EVERY_MS = 500

setInterval(() => {
  if (process.ppid !== workerData) process.kill(process.pid, 'SIGKILL')
}, EVERY_MS)

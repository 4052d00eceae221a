// The compiled model process, with one more row in its table of tasks.

import * as tasks from '../../dist/engine/tasks.js'
import { addEcho } from './echo-task.mjs'

addEcho(tasks)
await import('../../dist/engine/model-process.js')

// The table of tasks, by their names: in requests and manifests, in the routes POST /v1/<name>, in metrics.

import type { z } from 'zod'
import { RequestError } from '../errors.ts'
import type { BaseRequest, BaseResult } from './request.ts'
import { answer } from './tasks/answer.ts'
import { caption } from './tasks/caption.ts'
import { features } from './tasks/features.ts'
import { match } from './tasks/match.ts'
import type { AnyTask } from './tasks/task.ts'

export const TASKS = { caption, answer, match, features }

export type TaskName = keyof typeof TASKS
export const TASK_NAMES = Object.keys(TASKS) as TaskName[]
/** Characters of an unknown name that an error repeats. */
const MAX_QUOTED = 40
export type TextTask = 'caption' | 'answer'

type FieldsOf<T> = T extends { prepare(model: never, request: infer Fields): unknown } ? Fields : never
type OwnOf<T> = T extends { result: z.ZodType<infer Own> } ? Own : never
/** A request of this task. Without `task`, it is a caption or an answer. */
export type RequestOf<N extends TaskName> = Omit<BaseRequest, 'task'> & { task?: N } & FieldsOf<
    (typeof TASKS)[N]
  >
export type ResultOf<N extends TaskName> = BaseResult & OwnOf<(typeof TASKS)[N]>

export function isTaskName(name: string): name is TaskName {
  return Object.hasOwn(TASKS, name)
}

export function taskNamed(name: TaskName): AnyTask {
  return TASKS[name] as unknown as AnyTask
}

/**
 * The task that a request names; without one it is an answer if it has a question or a prompt, else a caption.
 * @throws RequestError `bad_field` when there is no such task
 */
export function taskOf({
  task,
  question,
  prompt,
}: {
  task?: unknown
  question?: unknown
  prompt?: unknown
}): TaskName {
  if (task === undefined) {
    const hasQuestion = typeof question === 'string' && question.trim() !== ''
    return hasQuestion || prompt !== undefined ? 'answer' : 'caption'
  }
  if (typeof task === 'string' && isTaskName(task)) return task
  const got =
    typeof task === 'string' ? JSON.stringify(task.slice(0, MAX_QUOTED)) : `a value of type ${typeof task}`
  throw new RequestError('bad_field', `Expected task to be one of ${TASK_NAMES.join(', ')} but got ${got}.`)
}

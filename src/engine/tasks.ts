// The table of tasks, by their names: in requests and manifests, in the routes POST /v1/<name>, in metrics.

import type { z } from 'zod'
import type { BaseRequest, BaseResult } from './request.ts'
import { answer } from './tasks/answer.ts'
import { caption } from './tasks/caption.ts'
import type { AnyTask } from './tasks/task.ts'

export const TASKS = { caption, answer }

export type TaskName = keyof typeof TASKS
export const TASK_NAMES = Object.keys(TASKS) as TaskName[]
export type TextTask = 'caption' | 'answer'

type FieldsOf<T> = T extends { rows(request: infer Fields): number } ? Fields : never
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

/** The task of a request that names none: an answer if it has a question, a history or a prompt, else a caption. */
export function taskOf(request: {
  task?: string
  question?: unknown
  history?: unknown
  prompt?: unknown
}): TaskName {
  if (request.task !== undefined && isTaskName(request.task)) return request.task
  const hasQuestion = typeof request.question === 'string' && request.question.trim() !== ''
  return hasQuestion || request.prompt !== undefined ? 'answer' : 'caption'
}

// A result -> the JSON and the server-sent events that the client reads. Glimpse's own form is here, others beside their routes.

import type { BaseResult } from '../engine/request.ts'
import { problemOf } from './problem.ts'

/** One server-sent event (HTML standard, section 9.2). `event` absent: a `message`. */
export interface ServerEvent {
  event?: string
  data: string
}

/** How one result is written. A stream calls `token` for each piece of text, then `reply` or `error` once. */
export interface ResponseForm {
  json(result: BaseResult): unknown
  token(text: string): ServerEvent[]
  reply(result: BaseResult): ServerEvent[]
  error(error: unknown): ServerEvent[]
}

export const GLIMPSE_FORM: ResponseForm = {
  json: (result) => result,
  token: (text) => [{ event: 'token', data: JSON.stringify({ text }) }],
  reply: (result) => [{ event: 'reply', data: JSON.stringify(result) }],
  error: (error) => [{ event: 'error', data: JSON.stringify(problemOf(error)) }],
}

// What the operator reads: one line for each thing that happened, with the ids of the request or job it happened to.
//
// Never in a line: tokens, pictures, questions, answers, presigned queries. Callers name events and give numbers and
// codes; messages of our errors hold none of these by contract (errors.ts), and what other people's errors say is
// scrubbed on the way out.

import pino, { type DestinationStream } from 'pino'
import { isGlimpseError } from '../errors.ts'
import { currentIds } from './context.ts'

export type Fields = Readonly<Record<string, string | number | boolean | undefined>>

export interface Log {
  info(event: string, fields?: Fields): void
  /** Something that mends itself or that somebody else must mend. */
  warn(event: string, error: unknown, fields?: Fields): void
  /** Something of ours is broken. */
  error(event: string, error: unknown, fields?: Fields): void
}

export type LogFormat = 'text' | 'json'

/** Values that must never be printed, such as tokens: told by whoever reads the settings. */
const secrets = new Set<string>()
const SHORTEST_SECRET = 6

let logger = open('text', pino.destination({ dest: 2, sync: true }))

/** Chooses how lines look, and where they go: standard error, or a stream of a test. */
export function configureLog(
  format: LogFormat,
  to: DestinationStream = pino.destination({ dest: 2, sync: true }),
) {
  logger = open(format, to)
}

export function redactValues(values: readonly string[]): void {
  for (const value of values) if (value.length >= SHORTEST_SECRET) secrets.add(value)
}

export const log: Log = {
  info: (event, fields = {}) => logger.info(fields, event),
  warn: (event, error, fields = {}) => logger.warn({ ...fields, ...logFields(error) }, event),
  error: (event, error, fields = {}) => logger.error({ ...fields, ...logFields(error) }, event),
}

/** An error as a line tells it; the stack only of what is a bug. */
function logFields(error: unknown): Fields {
  const { message, stack, cause } = error instanceof Error ? error : new Error(String(error))
  const why = cause instanceof Error ? { cause: scrub(cause.message) } : {}
  if (isGlimpseError(error)) return { code: error.code, error: scrub(message), ...why }
  return { code: 'internal', error: scrub(message), ...why, stack: stack && scrub(stack) }
}

/** Without tokens, secrets and the queries of addresses. */
export function scrub(text: string): string {
  let clean = text
  for (const secret of secrets) clean = clean.replaceAll(secret, '[secret]')
  return clean
    .replace(/\b(xox[a-z]|xapp)-[\w-]+/g, '[secret]')
    .replace(/\b(Bearer|Bot|Basic) [\w.~+/=-]{8,}/g, '$1 [secret]')
    .replace(/(https?:\/\/[^\s?"'<>]+)\?[^\s"'<>]*/g, '$1?[...]')
}

function open(format: LogFormat, to: DestinationStream) {
  return pino(
    {
      base: undefined,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
      mixin: currentIds,
    },
    format === 'json' ? to : { write: (line: string) => to.write(asText(line)) },
  )
}

/** `2026-11-25T14:02:11.000Z warn webhook_refused  code=bad_signature request_id=...`, a bug's stack below. */
function asText(line: string): string {
  const { time, level, event, stack, ...fields } = JSON.parse(line) as Record<string, unknown>
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  return `${[time, level, event, ...rest].join(' ')}\n${stack ? `${stack}\n` : ''}`
}

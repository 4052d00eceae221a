// The operator's log: one line an event, with the ids of its request and job.
//
// A line never contains tokens, pictures, questions, answers or presigned queries. Callers log event names, numbers and
// codes; messages of errors.ts contain none of these; messages of other errors are scrubbed.

import { AsyncLocalStorage } from 'node:async_hooks'
import { trace } from '@opentelemetry/api'
import pino, { type DestinationStream } from 'pino'
import { isGlimpseError } from '../errors.ts'

export type Fields = Readonly<Record<string, string | number | boolean | undefined>>

export type LogFormat = 'text' | 'json'

/** Values of secret settings, which are never logged. */
const secrets = new Set<string>()
const SHORTEST_SECRET = 6

let logger = open('text', pino.destination({ dest: 2, sync: true }))

/** `to` is standard error by default. */
export function configureLog(
  format: LogFormat,
  to: DestinationStream = pino.destination({ dest: 2, sync: true }),
) {
  logger = open(format, to)
}

export function redactValues(values: readonly string[]): void {
  for (const value of values) if (value.length >= SHORTEST_SECRET) secrets.add(value)
}

export interface Ids {
  request_id?: string
  job_id?: string
}

const storage = new AsyncLocalStorage<Ids>()

/** Runs `work` with these ids added to the current ones. */
export function withIds<T>(ids: Ids, work: () => T): T {
  return storage.run({ ...storage.getStore(), ...ids }, work)
}

/** The current ids, and that of the active OpenTelemetry trace. */
export function currentIds(): Ids & { trace_id?: string } {
  const traceId = trace.getActiveSpan()?.spanContext().traceId
  return { ...storage.getStore(), ...(traceId === undefined ? {} : { trace_id: traceId }) }
}

export const log = {
  info: (event: string, fields: Fields = {}) => logger.info(fields, event),
  /** For failures that pass, or that the caller or another service must fix. */
  warn: (event: string, error: unknown, fields: Fields = {}) =>
    logger.warn({ ...fields, ...logFields(error) }, event),
  /** For failures that the operator must fix, and bugs. */
  error: (event: string, error: unknown) => logger.error(logFields(error), event),
}

/** Only a bug is logged with its stack. */
function logFields(error: unknown): Fields {
  const { message, stack, cause } = error instanceof Error ? error : new Error(String(error))
  const why = cause instanceof Error ? { cause: scrub(cause.message) } : {}
  if (isGlimpseError(error)) return { code: error.code, error: scrub(message), ...why }
  return { code: 'internal', error: scrub(message), ...why, stack: stack && scrub(stack) }
}

/** Replaces tokens, secret settings and the queries of URLs. */
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

/** `2026-11-25T14:02:11.000Z warn webhook_refused code="bad_signature" request_id=...`, then the stack of a bug. */
function asText(line: string): string {
  const { time, level, event, stack, ...fields } = JSON.parse(line) as Record<string, unknown>
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  return `${[time, level, event, ...rest].join(' ')}\n${stack ? `${stack}\n` : ''}`
}

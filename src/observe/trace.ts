// Spans of OpenTelemetry, children of the caller's span in the W3C headers `traceparent` and `tracestate`. This is the API
// only: it does nothing unless the operator loads an SDK (node --import).

import { context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'

/** HTTP headers, or attributes of a queue message. */
export type Carrier = Readonly<Record<string, string | undefined>>

/** The headers that continue the trace in the receiver. */
export function injectTrace(): Record<string, string> {
  const carrier: Record<string, string> = {}
  propagation.inject(context.active(), carrier)
  return carrier
}

/** Runs `work` in a new span. An error of `work` marks the span as failed. */
export async function withSpan<T>(
  name: string,
  carrier: Carrier,
  work: (span: Span) => Promise<T>,
  kind: keyof typeof SpanKind = 'SERVER',
): Promise<T> {
  const parent = propagation.extract(context.active(), carrier)
  const tracer = trace.getTracer('glimpse')
  return await tracer.startActiveSpan(name, { kind: SpanKind[kind] }, parent, async (span) => {
    try {
      return await work(span)
    } catch (error) {
      // Messages of other libraries may contain secrets, so the error itself is not recorded.
      span.setStatus({ code: SpanStatusCode.ERROR })
      throw error
    } finally {
      span.end()
    }
  })
}

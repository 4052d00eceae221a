// The part of a trace that happens here: a span below the caller's, as the W3C headers `traceparent` and `tracestate`
// name it. Only OpenTelemetry's interface: without an SDK, which the operator loads (node --import), all of it does
// nothing.

import { context, propagation, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'

/** What carries the trace: HTTP headers, attributes of a message. */
export type Carrier = Readonly<Record<string, string | undefined>>

/** What to send along, so that the trace goes on there. */
export function injectTrace(): Record<string, string> {
  const carrier: Record<string, string> = {}
  propagation.inject(context.active(), carrier)
  return carrier
}

/** Runs `work` in a span of its own; what it throws marks the span as failed. */
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
      // Not recorded whole: a message of somebody else's may hold what no trace should.
      span.setStatus({ code: SpanStatusCode.ERROR })
      throw error
    } finally {
      span.end()
    }
  })
}

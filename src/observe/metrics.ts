// All metrics, in one table. GET /metrics returns them in Prometheus' text format. On Lambda, emf.ts writes them to the log.

import { Counter, Gauge, Histogram, type MetricValue, Registry } from 'prom-client'

/** Buckets of histograms. Seconds, from a lookup to the first caption on a slow machine. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 45]
const SIZES = [1, 2, 3, 4, 6, 8, 12, 16, 32]

type Kind = 'counter' | 'gauge' | 'histogram'

const metricOf =
  <K extends Kind>(kind: K) =>
  <L extends string = never>(help: string, labels: L[] = []) => ({ kind, help, labels })
const counter = metricOf('counter')
const gauge = metricOf('gauge')
const histogram = metricOf('histogram')

const METRICS = {
  glimpse_requests_total: counter(
    'Requests over HTTP by task (caption, answer, match, features) and outcome: ok, or the code of the error.',
    ['task', 'outcome'],
  ),
  glimpse_rejected_total: counter(
    'Refused requests by reason: busy, loading, stopping, restarting, deadline, bad_signature, ...',
    ['reason'],
  ),
  glimpse_http_waiting: gauge('Requests over HTTP that wait for the model.'),
  glimpse_http_wait_seconds: histogram('Time that requests over HTTP waited for the model.'),
  glimpse_http_replays_total: counter(
    'Requests answered again with the stored answer of their Idempotency-Key.',
  ),
  glimpse_queue_size: gauge('Requests that wait or run.'),
  glimpse_queue_seconds: histogram('Time that requests of all kinds waited for the model.'),
  glimpse_stage_seconds: histogram(
    'Time of each stage of an answer: image, pixels, vision, queries, tokens.',
    ['stage'],
  ),
  glimpse_batch_size: histogram('Requests in one batch of the model.'),
  glimpse_model_load_seconds: gauge('Time to fetch, prepack, open and warm up the model, by step.', ['step']),
  glimpse_model_retries_total: counter('Parts of the model fetched again, by reason.', ['reason']),
  glimpse_worker_restarts_total: counter('Restarts of the model process by reason: died or hung.', [
    'reason',
  ]),
  glimpse_provider: gauge(
    '1 for the execution provider in use (cpu, cuda, webgpu); fallback is true if another one is set.',
    ['provider', 'fallback'],
  ),
  glimpse_webhooks_total: counter(
    'Events from Slack and Discord by platform and outcome: accepted, or the reason of the refusal.',
    ['platform', 'outcome'],
  ),
  glimpse_chat_replies_total: counter(
    'Finished chat questions by platform and outcome: answered, problem, silent, stale, undelivered.',
    ['platform', 'outcome'],
  ),
  glimpse_apologies_total: counter(
    'Chat questions that were not answered for a reason that is not their asker, by the code of the error.',
    ['code'],
  ),
  glimpse_faults_total: counter('Failures of other services by the code of the error.', ['code']),
  glimpse_queue_messages_total: counter(
    'Messages of the question queue: sent, done, again (delivered once more), waiting (for the engine), poison.',
    ['outcome'],
  ),
}

export type MetricName = keyof typeof METRICS
type Labels<N extends MetricName> = Readonly<Record<(typeof METRICS)[N]['labels'][number], string>>

const registry = new Registry()
const KINDS = { counter: Counter, gauge: Gauge, histogram: Histogram }
for (const [name, { kind, help, labels }] of Object.entries(METRICS)) {
  const buckets = name.endsWith('_seconds') ? SECONDS : SIZES
  new KINDS[kind]({ name, help, labelNames: labels, registers: [registry], buckets })
}

/** Default of `by`: 1. */
export function count<N extends MetricName>(name: N, labels: Labels<N>, by = 1): void {
  metric<Counter>(name).inc(labels, by)
}

export function observe<N extends MetricName>(name: N, labels: Labels<N>, value: number): void {
  metric<Histogram>(name).observe(labels, value)
}

export function setGauge<N extends MetricName>(name: N, labels: Labels<N>, value: number): void {
  metric<Gauge>(name).set(labels, value)
}

function metric<T extends Counter | Gauge | Histogram>(name: MetricName): T {
  return registry.getSingleMetric(name) as unknown as T
}

/** Prometheus' text format. */
export async function metricsText(): Promise<{ text: string; contentType: string }> {
  return { text: await registry.metrics(), contentType: registry.contentType }
}

/** The value of a metric for one set of labels. */
export interface Reading {
  name: MetricName
  kind: Kind
  labels: Readonly<Record<string, string | number>>
  /** Observations of a histogram; else 1. */
  count: number
  /** Sum of the observations of a histogram, or the value of a counter or gauge. */
  sum: number
}

export async function readings(): Promise<Reading[]> {
  const found: Reading[] = []
  for (const name of Object.keys(METRICS) as MetricName[]) {
    const { kind } = METRICS[name]
    const { values }: { values: (MetricValue<string> & { metricName?: string })[] } = await metric(name).get()
    for (const { value, labels, metricName = name } of values) {
      const reading = { name, kind, labels: labels as Reading['labels'], count: 1, sum: value }
      if (metricName === (kind === 'histogram' ? `${name}_sum` : name)) found.push(reading)
      // prom-client returns the count of a histogram after its sum.
      else if (metricName === `${name}_count`) found.at(-1)!.count = value
    }
  }
  return found
}

/** Sets all values back to their start. For tests. */
export function resetMetrics(): void {
  registry.resetMetrics()
}

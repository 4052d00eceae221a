// What is counted and measured, in one table. GET /metrics shows it in Prometheus' text format; on Lambda, where nobody
// comes to ask, the same goes out as CloudWatch's embedded metric format (EMF) at the end of each call.

import { Counter, Gauge, Histogram, type MetricValue, Registry } from 'prom-client'

/** Seconds, from a lookup to a first caption on a slow machine. */
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 45]
const SIZES = [1, 2, 3, 4, 6, 8, 12, 16, 32]

interface Definition {
  kind: 'counter' | 'gauge' | 'histogram'
  help: string
  labels: readonly string[]
  buckets?: readonly number[]
}

const METRICS = {
  glimpse_requests_total: {
    kind: 'counter',
    help: 'Asks over HTTP by task (caption, answer) and outcome: ok, or the code of the error.',
    labels: ['task', 'outcome'],
  },
  glimpse_rejected_total: {
    kind: 'counter',
    help: 'Requests turned away, by reason: busy, loading, stopping, restarting, deadline, bad_signature, ...',
    labels: ['reason'],
  },
  glimpse_http_waiting: {
    kind: 'gauge',
    help: 'Asks over HTTP that have not reached the model yet.',
    labels: [],
  },
  glimpse_http_wait_seconds: {
    kind: 'histogram',
    help: 'Time an ask over HTTP waited until it was handed to the model.',
    labels: [],
    buckets: SECONDS,
  },
  glimpse_http_replays_total: {
    kind: 'counter',
    help: 'Asks answered once more from memory, for their Idempotency-Key.',
    labels: [],
  },
  glimpse_queue_size: { kind: 'gauge', help: 'Asks waiting or under way.', labels: [] },
  glimpse_queue_seconds: {
    kind: 'histogram',
    help: 'Time an ask waited for the model.',
    labels: [],
    buckets: SECONDS,
  },
  glimpse_stage_seconds: {
    kind: 'histogram',
    help: 'Time of each stage of an answer: image, pixels, vision, queries, tokens.',
    labels: ['stage'],
    buckets: SECONDS,
  },
  glimpse_batch_size: {
    kind: 'histogram',
    help: 'Asks the model answered in one go.',
    labels: [],
    buckets: SIZES,
  },
  glimpse_model_load_seconds: {
    kind: 'gauge',
    help: 'Time the model took to fetch, lay out, open and warm up.',
    labels: ['step'],
  },
  glimpse_model_retries_total: {
    kind: 'counter',
    help: 'Pieces of the model fetched again, by reason.',
    labels: ['reason'],
  },
  glimpse_worker_restarts_total: {
    kind: 'counter',
    help: "Times the model's thread was replaced: died, or hung.",
    labels: ['reason'],
  },
  glimpse_provider: {
    kind: 'gauge',
    help: '1 for what the model runs on: cpu, cuda or webgpu, and whether that is the one asked for.',
    labels: ['provider', 'fallback'],
  },
  glimpse_webhooks_total: {
    kind: 'counter',
    help: 'What platforms sent here, by platform and outcome: accepted, or why not.',
    labels: ['platform', 'outcome'],
  },
  glimpse_chat_replies_total: {
    kind: 'counter',
    help: 'Questions of chats that ended, by platform and outcome: answered, problem, silent, stale, undelivered.',
    labels: ['platform', 'outcome'],
  },
  glimpse_faults_total: {
    kind: 'counter',
    help: 'Failures of other services, by the code of the error.',
    labels: ['code'],
  },
  glimpse_queue_messages_total: {
    kind: 'counter',
    help: 'Messages of the job queue: sent, done, again (to be delivered once more), poison.',
    labels: ['outcome'],
  },
} as const satisfies Record<string, Definition>

type Name = keyof typeof METRICS
type Labels<N extends Name> = Readonly<Record<(typeof METRICS)[N]['labels'][number], string>>

let registry = new Registry()
let instruments = new Map<Name, Counter | Gauge | Histogram>()

function instrument<T extends Counter | Gauge | Histogram>(name: Name): T {
  const found = instruments.get(name)
  if (found) return found as T
  const { kind, help, labels, buckets }: Definition = METRICS[name]
  const options = { name, help, labelNames: [...labels], registers: [registry] }
  const made =
    kind === 'counter'
      ? new Counter(options)
      : kind === 'gauge'
        ? new Gauge(options)
        : new Histogram({ ...options, buckets: [...buckets!] })
  instruments.set(name, made)
  return made as T
}

/** One more, or `by`. */
export function count<N extends Name>(name: N, labels: Labels<N>, by = 1): void {
  instrument<Counter>(name).inc(labels, by)
}

export function observe<N extends Name>(name: N, labels: Labels<N>, value: number): void {
  instrument<Histogram>(name).observe(labels, value)
}

export function setGauge<N extends Name>(name: N, labels: Labels<N>, value: number): void {
  instrument<Gauge>(name).set(labels, value)
}

/** Prometheus' text format, every metric of the table included. */
export async function metricsText(): Promise<{ text: string; contentType: string }> {
  for (const name of Object.keys(METRICS) as Name[]) instrument(name)
  return { text: await registry.metrics(), contentType: registry.contentType }
}

/** The value of one counter or gauge; of a histogram, how many were observed. For tests. */
export async function measured<N extends Name>(name: N, labels: Partial<Labels<N>> = {}): Promise<number> {
  const { values }: { values: (MetricValue<string> & { metricName?: string })[] } =
    await instrument(name).get()
  const matching = values.filter((value) => {
    const isTotal = METRICS[name].kind !== 'histogram' || value.metricName === `${name}_count`
    return isTotal && Object.entries(labels).every(([label, wanted]) => value.labels[label] === wanted)
  })
  return matching.reduce((sum, { value }) => sum + value, 0)
}

/** One metric with one set of labels, as it stands: of a histogram how many were observed and their sum. */
export interface Reading {
  name: string
  kind: Definition['kind']
  labels: Readonly<Record<string, string | number>>
  count: number
  sum: number
}

/** Everything that was counted, measured or set. */
export async function readings(): Promise<Reading[]> {
  const found: Reading[] = []
  for (const [name, instrument] of instruments) {
    const { kind } = METRICS[name]
    const { values }: { values: (MetricValue<string> & { metricName?: string })[] } = await instrument.get()
    for (const { value, labels, metricName } of values) {
      const same = labels as Reading['labels']
      if (kind !== 'histogram') found.push({ name, kind, labels: same, count: 1, sum: value })
      else if (metricName === `${name}_sum`) found.push({ name, kind, labels: same, count: 0, sum: value })
      // prom-client gives each sum before its count.
      else if (metricName === `${name}_count`) found.at(-1)!.count = value
    }
  }
  return found
}

/** Begins anew: what was counted before is forgotten. */
export function resetMetrics(): void {
  registry = new Registry()
  instruments = new Map()
}

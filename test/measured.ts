// The value of one metric, from all that were counted, observed or set.

import { type MetricName, readings } from '../src/observe/metrics.ts'

/** Of a counter or gauge its value, of a histogram how many were observed; summed over labels that are not given. */
export async function measured(name: MetricName, labels: Record<string, string> = {}): Promise<number> {
  const matching = (await readings()).filter(
    (reading) =>
      reading.name === name &&
      Object.entries(labels).every(([label, value]) => reading.labels[label] === value),
  )
  return matching.reduce((total, { kind, count, sum }) => total + (kind === 'histogram' ? count : sum), 0)
}

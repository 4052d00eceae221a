// Metrics of a Lambda, where nobody comes to GET /metrics: what has changed since the last call goes out as lines of the
// log that CloudWatch reads as metrics (embedded metric format, "Specification").
//
// A counter gives what was added, a gauge how it stands, a histogram its mean as often as it was observed: sums, counts and
// averages are exact in CloudWatch (up to a hundred observations a call), percentiles within one line are not.

import { type Reading, readings } from './metrics.ts'

const NAMESPACE = 'Glimpse'
/** A metric takes no more values in one line. */
const MAX_VALUES = 100

export interface Emf {
  /** Writes one line for each set of labels that changed; none when nothing did. */
  flush(): Promise<void>
}

/**
 * @param base dimensions of every line, such as the function's name
 * @param write gets each line with its end; as it is, since what console.log puts before it makes it no JSON
 */
export function openEmf(
  base: Readonly<Record<string, string>>,
  write: (line: string) => void = (line) => process.stdout.write(line),
  now: () => number = Date.now,
): Emf {
  const lastReadings = new Map<string, Reading>()
  return {
    async flush() {
      for (const reading of await readings()) {
        const key = `${reading.name} ${JSON.stringify(reading.labels)}`
        const values = changeOf(reading, lastReadings.get(key))
        lastReadings.set(key, reading)
        if (values.length > 0) write(`${lineOf(reading, values, base, now())}\n`)
      }
    },
  }
}

function changeOf(reading: Reading, before: Reading | undefined): number[] {
  const sum = reading.sum - (before?.sum ?? 0)
  switch (reading.kind) {
    case 'gauge':
      return reading.sum === before?.sum ? [] : [reading.sum]
    case 'counter':
      return sum === 0 ? [] : [sum]
    case 'histogram': {
      const count = reading.count - (before?.count ?? 0)
      return new Array<number>(Math.min(MAX_VALUES, count)).fill(sum / count)
    }
  }
}

function lineOf(
  { name, kind, labels }: Reading,
  values: number[],
  base: Readonly<Record<string, string>>,
  at: number,
): string {
  const dimensions = { ...base, ...labels }
  const unit = name.endsWith('_seconds') ? 'Seconds' : kind === 'counter' ? 'Count' : 'None'
  return JSON.stringify({
    _aws: {
      Timestamp: at,
      CloudWatchMetrics: [
        {
          Namespace: NAMESPACE,
          // With labels to look closer, without them for an alarm over all.
          Dimensions: [
            Object.keys(base),
            ...(Object.keys(labels).length > 0 ? [Object.keys(dimensions)] : []),
          ],
          Metrics: [{ Name: name, Unit: unit }],
        },
      ],
    },
    ...dimensions,
    [name]: values.length === 1 ? values[0] : values,
  })
}

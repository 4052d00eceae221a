// Metrics of a Lambda function -> lines of its log, which CloudWatch reads as metrics (embedded metric format,
// "Specification"). Each call writes the changes since the last one.
//
// Only the function's name is a dimension, because CloudWatch bills each set of dimensions as a metric. Labels are fields of
// the line: Logs Insights groups by them. So there is a metric for each name and function, which bench/cost.mjs counts.
//
// A counter is written as its increase, a gauge as its value, a histogram as its mean, repeated for each observation.
// Sums, counts and averages are exact in CloudWatch up to a hundred observations a call; percentiles are not.

import { type Reading, readings } from './metrics.ts'

const NAMESPACE = 'Glimpse'
/** The format's limit for the values of a metric in one line. */
const MAX_VALUES = 100

/**
 * @param base dimensions of every line, such as the function's name
 * @param write receives each line with its newline. On Lambda, console.log would put a prefix before the JSON.
 */
export function openEmf(
  base: Readonly<Record<string, string>>,
  write: (line: string) => void = (line) => process.stdout.write(line),
  now: () => number = Date.now,
) {
  const lastReadings = new Map<string, Reading>()
  return {
    /** Writes a line for each metric and set of labels that changed. */
    async flush(): Promise<void> {
      for (const reading of await readings()) {
        const key = `${reading.name} ${JSON.stringify(reading.labels)}`
        const values = changeOf(reading, lastReadings.get(key))
        lastReadings.set(key, reading)
        if (values.length > 0) write(`${lineOf(reading, values, base, now())}\n`)
      }
    },
  }
}

function changeOf({ kind, sum, count }: Reading, before = { sum: 0, count: 0 }): number[] {
  const added = sum - before.sum
  const observed = count - before.count
  if (kind === 'histogram') return new Array<number>(Math.min(MAX_VALUES, observed)).fill(added / observed)
  return added === 0 ? [] : [kind === 'gauge' ? sum : added]
}

function lineOf(
  { name, kind, labels }: Reading,
  values: number[],
  base: Readonly<Record<string, string>>,
  at: number,
): string {
  const unit = name.endsWith('_seconds') ? 'Seconds' : kind === 'counter' ? 'Count' : 'None'
  return JSON.stringify({
    _aws: {
      Timestamp: at,
      CloudWatchMetrics: [
        {
          Namespace: NAMESPACE,
          Dimensions: [Object.keys(base)],
          Metrics: [{ Name: name, Unit: unit }],
        },
      ],
    },
    ...base,
    ...labels,
    [name]: values.length === 1 ? values[0] : values,
  })
}

import { beforeEach, expect, test } from 'vitest'
import { openEmf } from '../../src/observe/emf.ts'
import { count, observe, resetMetrics, setGauge } from '../../src/observe/metrics.ts'

beforeEach(resetMetrics)

function collect() {
  const lines: string[] = []
  const emf = openEmf(
    { function: 'glimpse-dev-answer' },
    (line) => lines.push(line),
    () => 1_700_000_000_000,
  )
  const flushed = async () => {
    await emf.flush()
    return lines.splice(0).map((line) => JSON.parse(line) as Record<string, unknown>)
  }
  return { flushed, lines, emf }
}

test('a line is what CloudWatch reads: one dimension, unit and value, labels beside them', async () => {
  const { flushed } = collect()
  count('glimpse_requests_total', { task: 'caption', outcome: 'ok' })
  expect(await flushed()).toEqual([
    {
      _aws: {
        Timestamp: 1_700_000_000_000,
        CloudWatchMetrics: [
          {
            Namespace: 'Glimpse',
            Dimensions: [['function']],
            Metrics: [{ Name: 'glimpse_requests_total', Unit: 'Count' }],
          },
        ],
      },
      function: 'glimpse-dev-answer',
      task: 'caption',
      outcome: 'ok',
      glimpse_requests_total: 1,
    },
  ])
})

test('each call writes only its increase', async () => {
  const { flushed } = collect()
  count('glimpse_faults_total', { code: 'state_failed' }, 2)
  expect((await flushed()).map((line) => line['glimpse_faults_total'])).toEqual([2])
  expect(await flushed()).toEqual([])
  count('glimpse_faults_total', { code: 'state_failed' })
  count('glimpse_faults_total', { code: 'engine_failed' }, 5)
  expect((await flushed()).map((line) => [line['code'], line['glimpse_faults_total']])).toEqual([
    ['state_failed', 1],
    ['engine_failed', 5],
  ])
})

test('a histogram keeps its count and its sum', async () => {
  const { flushed } = collect()
  observe('glimpse_stage_seconds', { stage: 'vision' }, 0.25)
  expect(await flushed()).toMatchObject([{ stage: 'vision', glimpse_stage_seconds: 0.25 }])
  observe('glimpse_stage_seconds', { stage: 'vision' }, 1)
  observe('glimpse_stage_seconds', { stage: 'vision' }, 3)
  expect(await flushed()).toMatchObject([
    {
      glimpse_stage_seconds: [2, 2],
      _aws: { CloudWatchMetrics: [{ Metrics: [{ Name: 'glimpse_stage_seconds', Unit: 'Seconds' }] }] },
    },
  ])
})

test('a gauge is written when it has changed', async () => {
  const { flushed } = collect()
  setGauge('glimpse_queue_size', {}, 3)
  expect(await flushed()).toMatchObject([{ glimpse_queue_size: 3 }])
  expect(await flushed()).toEqual([])
  setGauge('glimpse_queue_size', {}, 0)
  expect(await flushed()).toMatchObject([
    { glimpse_queue_size: 0, _aws: { CloudWatchMetrics: [{ Dimensions: [['function']] }] } },
  ])
})

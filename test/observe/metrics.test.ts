// Counted and measured: what /metrics shows.

import { beforeEach, expect, test } from 'vitest'
import { count, metricsText, observe, resetMetrics, setGauge } from '../../src/observe/metrics.ts'
import { measured } from '../measured.ts'

beforeEach(resetMetrics)

test('every metric is there before anything happened, with its help', async () => {
  const { text, contentType } = await metricsText()
  expect(contentType).toContain('text/plain')
  expect(text).toContain('# HELP glimpse_rejected_total ')
  expect(text).toContain('# TYPE glimpse_stage_seconds histogram')
})

test('what happened is counted by its labels', async () => {
  count('glimpse_rejected_total', { reason: 'busy' })
  count('glimpse_rejected_total', { reason: 'busy' }, 2)
  count('glimpse_rejected_total', { reason: 'loading' })
  observe('glimpse_stage_seconds', { stage: 'vision' }, 0.2)
  setGauge('glimpse_queue_size', {}, 3)
  expect(await measured('glimpse_rejected_total', { reason: 'busy' })).toBe(3)
  expect(await measured('glimpse_rejected_total')).toBe(4)
  expect(await measured('glimpse_stage_seconds', { stage: 'vision' })).toBe(1)
  expect(await measured('glimpse_queue_size')).toBe(3)
  expect((await metricsText()).text).toContain('glimpse_rejected_total{reason="busy"} 3')
})

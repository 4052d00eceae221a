// The checkpoints whose transformers outputs reference/fixtures.py recorded, and what it recorded of `generate`.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

export const FIXTURES = join(import.meta.dirname, 'fixtures')
export const CHECKPOINTS = ['plain', 'half-shards', 'old-layout', 'hub-defaults', 'odd'] as const
export const INSTRUCTBLIP_CHECKPOINTS = ['llama-grouped', 'instruct-t5-plain'] as const
export const T5_CHECKPOINTS = ['t5-gated', 't5-plain'] as const

/** A picture in test/fixtures/references and a prompt. */
export interface RecordedRow {
  image: string
  prompt: string
}

/** cases.json of a checkpoint: reference/fixtures.py says what it holds. */
export interface RecordedCases {
  cases: (RecordedRow & { generation: Record<string, unknown>; token_ids: number[][] })[]
  batches: { rows: RecordedRow[]; generation: Record<string, unknown>; token_ids: number[][] }[]
  sampled: (RecordedRow & { generation: Record<string, unknown> })[]
}

export async function readCases(checkpoint: string): Promise<RecordedCases> {
  return JSON.parse(await readFile(join(FIXTURES, 'references', checkpoint, 'cases.json'), 'utf8'))
}

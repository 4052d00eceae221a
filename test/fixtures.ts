// The checkpoints whose transformers outputs reference/fixtures.py recorded.

import { join } from 'node:path'

export const FIXTURES = join(import.meta.dirname, 'fixtures')
export const CHECKPOINTS = ['plain', 'half-shards', 'old-layout', 'hub-defaults', 'odd'] as const

// The checkpoints that transformers was recorded with (see reference/fixtures.py).

import { join } from 'node:path'

export const FIXTURES = join(import.meta.dirname, 'fixtures')
export const CHECKPOINTS = ['plain', 'half-shards', 'old-layout', 'hub-defaults', 'odd'] as const

// Downloads an artifact from the S3 double with seeded faults: each request fails with a given probability.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isGlimpseError } from '../../src/errors.ts'
import { createRng, type Rng } from '../../src/run/sampling.ts'
import { fetchArtifact } from '../../src/transfer/fetch.ts'
import { type Fault, startS3Double } from '../store/s3-double.ts'
import { credentials, type Files, makeModel, PIECE_BYTES, upload } from './model.ts'

export const FAULTS = {
  '503 SlowDown': () => ({ kind: 'status', status: 503, code: 'SlowDown' }),
  'reset mid-range': (random) => ({ kind: 'reset', after: Math.floor(random() * PIECE_BYTES) }),
  'short body': (random) => ({ kind: 'short', after: Math.floor(random() * PIECE_BYTES) }),
  'bad checksum': () => ({ kind: 'flip' }),
  '403': () => ({ kind: 'status', status: 403, code: 'AccessDenied' }),
  stall: (random) => ({ kind: 'stall', after: Math.floor(random() * PIECE_BYTES) }),
} as const satisfies Record<string, (random: Rng) => Fault>
export type FaultName = keyof typeof FAULTS

/** Codes of the typed errors that a load may end with. */
export const TYPED = ['model_unreachable', 'bucket_refused', 'damaged_artifact']

export interface FaultRun {
  outcome: 'right' | 'wrong' | string
  requests: number
  /** Highest number of requests for one range. */
  mostTries: number
  /** Whether the cache has anything that a later start would accept as a model. */
  looksWhole: boolean
}

/** Runs one load with its own cache. `stallMs` replaces the 10 s of a real load. */
export async function fetchOnce(
  kinds: readonly FaultName[],
  probability: number,
  seed: number,
  stallMs = 150,
): Promise<FaultRun> {
  const random = createRng(seed)
  const model = makeModel(seed)
  const s3 = await startS3Double('models')
  const room = await mkdtemp(join(tmpdir(), 'glimpse-fetch-'))
  upload(s3, model)
  s3.misbehave = () => {
    if (random() >= probability) return undefined
    return FAULTS[kinds[Math.floor(random() * kinds.length)]!](random)
  }
  try {
    const outcome = await fetchArtifact('s3://models/model', {
      cacheFolder: room,
      client: { ...credentials(s3), stallMs, retryMs: 2 },
      streams: { count: 4, pieceBytes: PIECE_BYTES },
    }).then(
      async (folder) => ((await isSame(folder, model)) ? 'right' : 'wrong'),
      (error: unknown) => (isGlimpseError(error) ? error.code : `untyped: ${error}`),
    )
    const names = await readdir(join(room, 'models')).catch((): string[] => [])
    const tries = new Map<string, number>()
    for (const asked of s3.asked) {
      const piece = asked.replace(/ \d+-/, ' -')
      tries.set(piece, (tries.get(piece) ?? 0) + 1)
    }
    return {
      outcome,
      requests: s3.asked.length,
      mostTries: Math.max(...tries.values()),
      looksWhole: outcome !== 'right' && names.some((name) => !name.endsWith('.partial')),
    }
  } finally {
    s3.close()
    await rm(room, { recursive: true, force: true })
  }
}

export async function isSame(folder: string, files: Files): Promise<boolean> {
  const same = [...files].map(async ([path, bytes]) => (await readFile(join(folder, path))).equals(bytes))
  return (await Promise.all(same)).every(Boolean)
}

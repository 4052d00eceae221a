// Weights that arrive file by file while they are built: in which turn a tensor is written, when a file is done with,
// and what a run that is broken off leaves for the next.

import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { readJson } from '../checkpoint/files.ts'
import type { TensorFiles } from '../checkpoint/safetensors.ts'
import type { Graph } from '../onnx/graph.ts'
import { type Precision, recipeFor, type Target } from '../quantize/recipes.ts'
import { GLIMPSE_VERSION } from '../versions.ts'

export interface StreamedWeights {
  weights: TensorFiles
  /** A folder that stays when the build is broken off, for the next run to go on in. */
  workplace: string
  /** `owner/name` on the hub, and the version's name there. */
  repository: string
  commit: string
  /** All files stay in the checkpoint's folder. */
  kept: boolean
  /** Told how many bytes the artifact's weights will have, before anything is fetched: throws if that is too many. */
  onPlan: (totalBytes: number) => Promise<void>
}

/** The place among the files of the last one that holds any of these tensors. */
export function shardOf({ files, entries }: TensorFiles, names: readonly string[]): number {
  return Math.max(0, ...names.map((name) => files.indexOf(entries.get(name)?.file ?? '')))
}

/** For each file, the last turn in which something is read of it. */
export function lastShardUses(files: TensorFiles, graphs: readonly Graph[]): number[] {
  const last = files.files.map((_, i) => i)
  for (const { tensor } of graphs.flatMap(({ parts }) => parts.initializers)) {
    const shard = shardOf(files, tensor.sources)
    for (const name of tensor.sources) {
      const i = files.files.indexOf(files.entries.get(name)?.file ?? '')
      last[i] = Math.max(last[i] ?? 0, shard)
    }
  }
  return last
}

interface Journal {
  written: ReadonlySet<number>
  add(shard: number): Promise<void>
}

const journalSchema = z.object({ key: z.string(), written: z.array(z.number().int()) })

/** Which turns an earlier run has written. Of another version, precision or Glimpse it counts for nothing. */
export async function openJournal(
  { workplace, commit, weights }: StreamedWeights,
  { precision, target, untiedHead = false }: { precision: Precision; target?: Target; untiedHead?: boolean },
): Promise<Journal> {
  const file = join(workplace, 'progress.json')
  const recipe = recipeFor(precision, target).map(({ weights: path, format }) => [path.source, format])
  const key = JSON.stringify([commit, precision, untiedHead, recipe, GLIMPSE_VERSION, weights.files])
  const found = journalSchema.safeParse(await readJson(workplace, 'progress.json').catch(() => undefined))
  const written = new Set(found.success && found.data.key === key ? found.data.written : [])
  return {
    written,
    async add(shard) {
      written.add(shard)
      await writeFile(`${file}.new`, JSON.stringify({ key, written: [...written] }))
      await rename(`${file}.new`, file)
    },
  }
}

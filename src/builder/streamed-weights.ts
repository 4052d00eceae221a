// Weights that are downloaded during the build: the order in which tensors are written, when a file is no longer needed,
// and the journal from which the next run resumes.

import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { readJson } from '../checkpoint/files.ts'
import type { TensorFiles } from '../checkpoint/safetensors.ts'
import type { Graph } from '../onnx/graph.ts'
import type { Precision, Rule } from '../quantize/recipes.ts'
import { GLIMPSE_VERSION } from '../versions.ts'

export interface StreamedWeights {
  /** Starts from the first file again, for a second attempt. */
  open(): Promise<TensorFiles>
  /** A folder that stays after an interrupted build, for the next run. */
  workplace: string
  /** `owner/name` on the hub. */
  repository: string
  commit: string
  /** Whether all files stay in the checkpoint's folder. */
  kept: boolean
  /** Called with the size of the artifact's weights before anything is downloaded. Throws if they do not fit the disk. */
  onPlan: (totalBytes: number) => Promise<void>
}

/** The index of the last file that holds one of these tensors: when it is there, all of them are. */
export function shardOf({ files, entries }: TensorFiles, names: readonly string[]): number {
  return Math.max(0, ...names.map((name) => files.indexOf(entries.get(name)?.file ?? '')))
}

/** Files that no tensor of a later shard's turn needs. Only those up to this shard, in whose turn they are read. */
export function filesNotUsedAfter(shard: number, files: TensorFiles, graphs: readonly Graph[]): string[] {
  const used = graphs
    .flatMap(({ parts }) => parts.initializers)
    .filter(({ tensor }) => shardOf(files, tensor.sources) > shard)
    .flatMap(({ tensor }) => tensor.sources.map((name) => files.entries.get(name)?.file))
  return files.files.slice(0, shard + 1).filter((file) => !used.includes(file))
}

const journalSchema = z.object({ key: z.string(), written: z.array(z.number().int()) })

/**
 * Returns the shards that an earlier run has written. A journal of another commit, recipe or version of Glimpse is
 * ignored.
 */
export async function openJournal(
  { workplace, commit }: StreamedWeights,
  { files }: TensorFiles,
  { precision, rules, untied }: { precision: Precision; rules: readonly Rule[]; untied: boolean },
): Promise<{ written: ReadonlySet<number>; add(shard: number): Promise<void> }> {
  const file = join(workplace, 'progress.json')
  const recipe = rules.map(({ weights: path, format }) => [path.source, format])
  const key = JSON.stringify([commit, precision, untied, recipe, GLIMPSE_VERSION, files])
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

// queries and prompt -> tokens: greedy, sampling or beams, over one or many rows.

import type { Manifest } from '../artifact/contract.ts'
import { BeamSearch } from './beam-search.ts'
import { Decoder, type LanguageModel, type PrefillOptions, type PromptRow } from './decoder.ts'
import { type Context, logSoftmax, processorsFor } from './logits-processors.ts'
import { rowsPerRun } from './micro-batch.ts'
import { argmax, assertFiniteScore, createRng, type Rng, sample } from './sampling.ts'
import type { GenerationSettings } from './settings.ts'

export interface GenerateHooks {
  /** Called before each step: throws to end the run. */
  check?: () => void
  /** Whether anybody still waits for a row: one that nobody waits for leaves the run unfinished. */
  isWanted?: (row: number) => boolean
  /** Told each row's answers as soon as it has them, before the others have theirs. */
  onDone?: (row: number, answers: number[][]) => void
  /** Told each new id of row 0 when there is one answer and no beams. */
  onToken?: (id: number) => void
}

/** What transformers' generate has no place for. */
export interface GenerateOptions {
  /** Ids that are never generated, as if the vocabulary did not have them. */
  suppressTokens?: readonly number[]
}

/** For each row, its `num_return_sequences` answers, with beams the best first: generated ids only, the end token included. */
export async function generate(
  model: LanguageModel,
  rows: readonly PromptRow[],
  settings: GenerationSettings,
  hooks: GenerateHooks = {},
  { suppressTokens = [] }: GenerateOptions = {},
): Promise<number[][][]> {
  const rng = createRng(settings.seed)
  const eosTokenIds = resolveEosTokenIds(model.manifest, settings)
  const processors = processorsFor(settings, eosTokenIds)
  const run = { model, settings, eosTokenIds, rng, hooks, suppressTokens, processors }
  return settings.num_beams > 1 ? beamSearch(rows, run) : greedyOrSample(rows, run)
}

interface Run {
  model: LanguageModel
  settings: GenerationSettings
  eosTokenIds: readonly number[]
  rng: Rng
  hooks: GenerateHooks
  suppressTokens: readonly number[]
  processors: ReturnType<typeof processorsFor>
}

/** The ids that end an answer. */
export function resolveEosTokenIds(
  { tokens }: Manifest,
  { eos_token_id }: GenerationSettings,
): readonly number[] {
  return eos_token_id === null ? tokens.eos_token_id : [eos_token_id].flat()
}

/** A copy of the model's scores [V] in which forbidden ids have no chance. */
function suppress(logits: Float32Array, suppressTokens: readonly number[]): Float32Array {
  const scores = Float32Array.from(logits)
  for (const id of suppressTokens) scores[id] = -Infinity
  return scores
}

/** What the processors see: transformers counts the picture's placeholders as ids said before. */
export function contextOf(
  { manifest }: LanguageModel,
  row: PromptRow,
  generated: readonly number[],
): Context {
  const { image_token_id } = manifest.tokens
  const { queries } = manifest.sizes
  const placeholders = image_token_id === null ? [] : new Array<number>(queries).fill(image_token_id)
  return {
    ids: [...placeholders, ...row.ids, ...generated],
    length: queries + row.ids.length + generated.length,
    newTokens: generated.length,
  }
}

async function greedyOrSample(
  rows: readonly PromptRow[],
  { model, settings, eosTokenIds, rng, hooks, suppressTokens, processors }: Run,
): Promise<number[][][]> {
  const { num_return_sequences: answers, max_new_tokens, do_sample } = settings
  hooks.check?.()
  const { decoder, step } = await Decoder.prefill(model, rows, microBatchOptions(model, rows, hooks))

  const byRow = rows.map((asked, row) =>
    Array.from({ length: answers }, () => ({ asked, row, ids: [] as number[], done: false })),
  )
  const sequences = byRow.flat()
  // Finished threads leave the batch: `active` are the others, in the rows of the last step.
  let active = sequences.map((sequence, i) => ({ sequence, row: Math.floor(i / answers) }))
  let { logits } = step
  while (active.length > 0) {
    active.forEach(({ sequence, row }) => {
      const scores = suppress(logits[row]!, suppressTokens)
      const context = contextOf(model, sequence.asked, sequence.ids)
      for (const process of processors) process(scores, context)
      const id = do_sample ? sample(scores, rng) : argmax(scores)
      assertFiniteScore(scores[id]!)
      sequence.ids.push(id)
      if (sequence === sequences[0] && sequences.length === 1) hooks.onToken?.(id)
    })
    for (const { sequence } of active) {
      sequence.done = sequence.ids.length >= max_new_tokens || eosTokenIds.includes(sequence.ids.at(-1)!)
    }
    for (const row of new Set(active.map(({ sequence }) => sequence.row))) {
      const all = byRow[row]!
      if (all.every(({ done }) => done))
        hooks.onDone?.(
          row,
          all.map(({ ids }) => ids),
        )
    }
    const going = active.filter(({ sequence }) => !sequence.done && (hooks.isWanted?.(sequence.row) ?? true))
    if (going.length === 0) break
    hooks.check?.()
    const ids = going.map(({ sequence }) => sequence.ids.at(-1)!)
    const from = going.map(({ row }) => row)
    logits = (await decoder.step(ids, from)).logits
    active = going.map(({ sequence }, row) => ({ sequence, row }))
  }
  return byRow.map((all) => all.map(({ ids }) => ids))
}

function microBatchOptions(
  model: LanguageModel,
  rows: readonly PromptRow[],
  { check }: GenerateHooks,
): PrefillOptions {
  const longest = Math.max(...rows.map(({ ids }) => ids.length))
  return { rowsPerRun: rowsPerRun(model, longest), check }
}

async function beamSearch(
  rows: readonly PromptRow[],
  { model, settings, eosTokenIds, rng, hooks, suppressTokens, processors }: Run,
): Promise<number[][][]> {
  const { num_beams } = settings
  hooks.check?.()
  const { decoder, step } = await Decoder.prefill(model, rows, microBatchOptions(model, rows, hooks))

  const searches = rows.map((row, index) => ({
    row,
    index,
    search: new BeamSearch(settings, eosTokenIds, rng),
  }))
  // Where each search's beams stand in the last step's rows; after the prefill all on the one row of the prompt.
  let active = searches.map((item, i) => ({ ...item, at: new Array<number>(num_beams).fill(i) }))
  let { logits } = step
  while (true) {
    const ids: number[] = []
    const from: number[] = []
    const going: typeof active = []
    for (const { row, index, search, at } of active) {
      if (!(hooks.isWanted?.(index) ?? true)) continue
      const logProbabilities = search.running.map((generated, beam) => {
        const scores = logSoftmax(suppress(logits[at[beam]!]!, suppressTokens))
        const context = contextOf(model, row, generated)
        for (const process of processors) process(scores, context)
        return scores
      })
      const advance = search.advance(logProbabilities)
      if (search.done) {
        hooks.onDone?.(index, search.best())
        continue
      }
      going.push({ row, index, search, at: advance.tokenIds.map((_, beam) => ids.length + beam) })
      ids.push(...advance.tokenIds)
      from.push(...advance.beamIdx.map((beam) => at[beam]!))
    }
    if (going.length === 0) break
    hooks.check?.()
    logits = (await decoder.step(ids, from)).logits
    active = going
  }
  return searches.map(({ search }) => search.best())
}

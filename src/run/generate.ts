// Image embeddings and prompts -> generated ids, for a batch of rows: greedy search, sampling or beam search.
//
// transformers 5.18, GenerationMixin._sample and _beam_search (generation/utils.py). Rows have the same settings; a row
// gives the same ids in a batch as alone, except that sampled rows share one random generator.

import type { Manifest } from '../artifact/contract.ts'
import { BeamSearch } from './beam-search.ts'
import { Decoder, type LanguageModel, type PromptRow } from './decoder.ts'
import { type Context, logSoftmax, processorsFor } from './logits-processors.ts'
import { rowsPerRun } from './micro-batch.ts'
import { argmax, assertFiniteScore, createRng, sample } from './sampling.ts'
import type { GenerationSettings } from './settings.ts'

export interface GenerateHooks {
  /** Called before each run of the graph; throws to cancel all rows. */
  check?: () => void
  /** Whether a caller still waits for the row. A row without one is dropped unfinished. */
  isWanted?: (row: number) => boolean
  /** Called with a row's answers when they are complete, before other rows are. */
  onDone?: (row: number, answers: number[][]) => void
  /** Called with each new id when there is one row with one answer and no beams. */
  onToken?: (id: number) => void
}

interface Run {
  model: LanguageModel
  rows: readonly PromptRow[]
  settings: GenerationSettings
  eosTokenIds: readonly number[]
  suppressTokens: readonly number[]
  processors: ReturnType<typeof processorsFor>
  hooks: GenerateHooks
  /** After prefill, with the logits [V] of each row's first new token. */
  decoder: Decoder
  logits: Float32Array[]
}

/**
 * For each row its `num_return_sequences` answers, best first with beams. An answer is the generated ids with the EOS
 * token. The ids in `suppressTokens` are never generated, as if the vocabulary did not contain them.
 * @throws RequestError `bad_settings` if the settings allow no token.
 */
export async function generate(
  model: LanguageModel,
  rows: readonly PromptRow[],
  settings: GenerationSettings,
  hooks: GenerateHooks = {},
  suppressTokens: readonly number[] = [],
): Promise<number[][][]> {
  const eosTokenIds = resolveEosTokenIds(model.manifest, settings)
  const processors = processorsFor(settings, eosTokenIds)
  hooks.check?.()
  const longest = Math.max(...rows.map(({ ids }) => ids.length))
  const options = { rowsPerRun: rowsPerRun(model, longest), check: hooks.check }
  const { decoder, logits } = await Decoder.prefill(model, rows, options)
  const run = { model, rows, settings, eosTokenIds, suppressTokens, processors, hooks, decoder, logits }
  return settings.num_beams > 1 ? beamSearch(run) : greedyOrSample(run)
}

/** The ids that end an answer: those of the settings, else the model's. */
export function resolveEosTokenIds(
  { tokens }: Manifest,
  { eos_token_id }: GenerationSettings,
): readonly number[] {
  return eos_token_id === null ? tokens.eos_token_id : [eos_token_id].flat()
}

/** What logits processors see. transformers counts the image's placeholders among the ids. */
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

/** The scores [V] that the next token is chosen by: logits, with beams log probabilities, after the processors. */
function scoresFor(
  { model, settings, suppressTokens, processors }: Run,
  logits: Float32Array,
  row: PromptRow,
  generated: readonly number[],
): Float32Array {
  const allowed = Float32Array.from(logits)
  for (const id of suppressTokens) allowed[id] = -Infinity
  const scores = settings.num_beams > 1 ? logSoftmax(allowed) : allowed
  const context = contextOf(model, row, generated)
  for (const process of processors) process(scores, context)
  return scores
}

async function greedyOrSample(run: Run): Promise<number[][][]> {
  const { rows, settings, eosTokenIds, hooks, decoder } = run
  const { num_return_sequences, max_new_tokens, do_sample } = settings
  const rng = createRng(settings.seed)
  const byRow = rows.map((prompt, row) =>
    Array.from({ length: num_return_sequences }, () => ({ prompt, row, ids: [] as number[], done: false })),
  )
  const sequences = byRow.flat()
  let { logits } = run
  // Unfinished sequences; each continues row `at` of `logits`.
  let active = sequences.map((sequence) => ({ sequence, at: sequence.row }))
  while (true) {
    for (const { sequence, at } of active) {
      const { prompt, ids } = sequence
      const scores = scoresFor(run, logits[at]!, prompt, ids)
      const id = do_sample ? sample(scores, rng) : argmax(scores)
      assertFiniteScore(scores[id]!)
      ids.push(id)
      sequence.done = ids.length >= max_new_tokens || eosTokenIds.includes(id)
      if (sequences.length === 1) hooks.onToken?.(id)
    }
    for (const row of new Set(active.map(({ sequence }) => sequence.row))) {
      const answers = byRow[row]!.map(({ ids }) => ids)
      if (byRow[row]!.every(({ done }) => done)) hooks.onDone?.(row, answers)
    }
    active = active.filter(({ sequence }) => !sequence.done && (hooks.isWanted?.(sequence.row) ?? true))
    if (active.length === 0) break
    hooks.check?.()
    const tokenIds = active.map(({ sequence }) => sequence.ids.at(-1)!)
    const beamIdx = active.map(({ at }) => at)
    logits = await decoder.step(tokenIds, beamIdx)
    active = active.map(({ sequence }, at) => ({ sequence, at }))
  }
  return byRow.map((answers) => answers.map(({ ids }) => ids))
}

async function beamSearch(run: Run): Promise<number[][][]> {
  const { rows, settings, eosTokenIds, hooks, decoder } = run
  const rng = createRng(settings.seed)
  const searches = rows.map(() => new BeamSearch(settings, eosTokenIds, rng))
  let { logits } = run
  // Unfinished searches; beam b continues row at[b] of `logits`. After prefill that is the prompt's row for all beams.
  let active = searches.map((search, row) => ({
    search,
    row,
    at: new Array<number>(settings.num_beams).fill(row),
  }))
  while (true) {
    const tokenIds: number[] = []
    const beamIdx: number[] = []
    const unfinished: typeof active = []
    for (const { search, row, at } of active) {
      if (!(hooks.isWanted?.(row) ?? true)) continue
      const step = search.advance(
        search.running.map((generated, beam) => scoresFor(run, logits[at[beam]!]!, rows[row]!, generated)),
      )
      if (search.done) {
        hooks.onDone?.(row, search.best())
        continue
      }
      unfinished.push({ search, row, at: step.tokenIds.map((_, beam) => tokenIds.length + beam) })
      tokenIds.push(...step.tokenIds)
      beamIdx.push(...step.beamIdx.map((beam) => at[beam]!))
    }
    if (unfinished.length === 0) break
    hooks.check?.()
    logits = await decoder.step(tokenIds, beamIdx)
    active = unfinished
  }
  return searches.map((search) => search.best())
}

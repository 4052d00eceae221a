// queries and prompt -> tokens: greedy, sampling or beams, over one or many rows.

import type { Manifest } from '../artifact/contract.ts'
import { BeamSearch } from './beam-search.ts'
import { Decoding, type Language, type Row } from './decoder.ts'
import { type Context, logSoftmax, processorsFor } from './logits-processors.ts'
import { rowsAtOnce } from './micro-batch.ts'
import { checkChoice, drawOne, likeliest, type Random, randomFrom } from './sampling.ts'
import type { GenerationSettings } from './settings.ts'

export interface Watch {
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
export interface Limits {
  /** Ids that are never generated, as if the vocabulary did not have them. */
  forbidden?: readonly number[]
}

/** For each row, its `num_return_sequences` answers, with beams the best first: generated ids only, the end token included. */
export async function generate(
  model: Language,
  rows: readonly Row[],
  settings: GenerationSettings,
  watch: Watch = {},
  { forbidden = [] }: Limits = {},
): Promise<number[][][]> {
  const random = randomFrom(settings.seed)
  const endIds = endsOf(model.manifest, settings)
  const processors = processorsFor(settings, endIds)
  const run = { model, settings, endIds, random, watch, forbidden, processors }
  return settings.num_beams > 1 ? searchBeams(rows, run) : followOne(rows, run)
}

interface Run {
  model: Language
  settings: GenerationSettings
  endIds: readonly number[]
  random: Random
  watch: Watch
  forbidden: readonly number[]
  processors: ReturnType<typeof processorsFor>
}

/** The ids that end an answer. */
export function endsOf({ tokens }: Manifest, { eos_token_id }: GenerationSettings): readonly number[] {
  return eos_token_id === null ? tokens.eos_token_id : [eos_token_id].flat()
}

/** A copy of the model's scores [V] in which forbidden ids have no chance. */
function allowed(logits: Float32Array, forbidden: readonly number[]): Float32Array {
  const scores = Float32Array.from(logits)
  for (const id of forbidden) scores[id] = -Infinity
  return scores
}

/** What the processors see: transformers counts the picture's placeholders as ids said before. */
export function contextOf({ manifest }: Language, row: Row, generated: readonly number[]): Context {
  const { image_token_id } = manifest.tokens
  const { queries } = manifest.sizes
  const placeholders = image_token_id === null ? [] : new Array<number>(queries).fill(image_token_id)
  return {
    ids: [...placeholders, ...row.ids, ...generated],
    length: queries + row.ids.length + generated.length,
    newTokens: generated.length,
  }
}

async function followOne(
  rows: readonly Row[],
  { model, settings, endIds, random, watch, forbidden, processors }: Run,
): Promise<number[][][]> {
  const { num_return_sequences: answers, max_new_tokens, do_sample } = settings
  watch.check?.()
  const { decoding, step } = await Decoding.prefill(model, rows, portionsOf(model, rows, watch))

  const byRow = rows.map((asked, row) =>
    Array.from({ length: answers }, () => ({ asked, row, ids: [] as number[], done: false })),
  )
  const threads = byRow.flat()
  // Finished threads leave the batch: `active` are the others, in the rows of the last step.
  let active = threads.map((thread, i) => ({ thread, row: Math.floor(i / answers) }))
  let { logits } = step
  while (active.length > 0) {
    active.forEach(({ thread, row }) => {
      const scores = allowed(logits[row]!, forbidden)
      const context = contextOf(model, thread.asked, thread.ids)
      for (const process of processors) process(scores, context)
      const id = do_sample ? drawOne(scores, random) : likeliest(scores)
      checkChoice(scores[id]!)
      thread.ids.push(id)
      if (thread === threads[0] && threads.length === 1) watch.onToken?.(id)
    })
    for (const { thread } of active) {
      thread.done = thread.ids.length >= max_new_tokens || endIds.includes(thread.ids.at(-1)!)
    }
    for (const row of new Set(active.map(({ thread }) => thread.row))) {
      const all = byRow[row]!
      if (all.every(({ done }) => done))
        watch.onDone?.(
          row,
          all.map(({ ids }) => ids),
        )
    }
    const going = active.filter(({ thread }) => !thread.done && (watch.isWanted?.(thread.row) ?? true))
    if (going.length === 0) break
    watch.check?.()
    const ids = going.map(({ thread }) => thread.ids.at(-1)!)
    const from = going.map(({ row }) => row)
    logits = (await decoding.next(ids, from)).logits
    active = going.map(({ thread }, row) => ({ thread, row }))
  }
  return byRow.map((all) => all.map(({ ids }) => ids))
}

function portionsOf(model: Language, rows: readonly Row[], { check }: Watch) {
  const longest = Math.max(...rows.map(({ ids }) => ids.length))
  return { rowsAtOnce: rowsAtOnce(model, longest), check }
}

async function searchBeams(
  rows: readonly Row[],
  { model, settings, endIds, random, watch, forbidden, processors }: Run,
): Promise<number[][][]> {
  const { num_beams } = settings
  watch.check?.()
  const { decoding, step } = await Decoding.prefill(model, rows, portionsOf(model, rows, watch))

  const searches = rows.map((row, place) => ({
    row,
    place,
    search: new BeamSearch(settings, endIds, random),
  }))
  // Where each search's beams stand in the last step's rows; after the prefill all on the one row of the prompt.
  let active = searches.map((item, i) => ({ ...item, at: new Array<number>(num_beams).fill(i) }))
  let { logits } = step
  while (true) {
    const ids: number[] = []
    const from: number[] = []
    const going: typeof active = []
    for (const { row, place, search, at } of active) {
      if (!(watch.isWanted?.(place) ?? true)) continue
      const logProbabilities = search.running.map((generated, beam) => {
        const scores = logSoftmax(allowed(logits[at[beam]!]!, forbidden))
        const context = contextOf(model, row, generated)
        for (const process of processors) process(scores, context)
        return scores
      })
      const advance = search.advance(logProbabilities)
      if (search.done) {
        watch.onDone?.(place, search.best())
        continue
      }
      going.push({ row, place, search, at: advance.ids.map((_, beam) => ids.length + beam) })
      ids.push(...advance.ids)
      from.push(...advance.from.map((beam) => at[beam]!))
    }
    if (going.length === 0) break
    watch.check?.()
    logits = (await decoding.next(ids, from)).logits
    active = going
  }
  return searches.map(({ search }) => search.best())
}

// queries and prompt -> tokens: greedy, sampling or beams, over one or many rows.

import { BeamSearch } from './beams.ts'
import { drawOne, likeliest, type Random, randomFrom } from './draw.ts'
import { Decoding, type Language, type Row } from './language.ts'
import { logSoftmax, processorsFor } from './processors.ts'
import type { GenerationSettings } from './settings.ts'

export interface Watch {
  /** Called before each step: throws to end the run. */
  check?: () => void
  /** Told each new id of row 0 when there is one answer and no beams. */
  onToken?: (id: number) => void
}

/** For each row, its `num_return_sequences` answers, with beams the best first: generated ids only, the end token included. */
export async function generate(
  model: Language,
  rows: readonly Row[],
  settings: GenerationSettings,
  watch: Watch = {},
): Promise<number[][][]> {
  const random = randomFrom(settings.seed)
  return settings.num_beams > 1
    ? searchBeams(model, rows, settings, random, watch)
    : followOne(model, rows, settings, random, watch)
}

/** What the processors see as said before: transformers counts the picture's placeholders as ids. */
function saidBefore({ manifest }: Language, row: Row): number[] {
  const { image_token_id } = manifest.tokens
  const placeholders =
    image_token_id === null ? [] : new Array<number>(manifest.sizes.queries).fill(image_token_id)
  return [...placeholders, ...row.ids]
}

async function followOne(
  model: Language,
  rows: readonly Row[],
  settings: GenerationSettings,
  random: Random,
  watch: Watch,
): Promise<number[][][]> {
  const { num_return_sequences: answers, max_new_tokens, do_sample } = settings
  const endIds = model.manifest.tokens.eos_token_id
  const processors = processorsFor(settings, endIds)
  watch.check?.()
  const { decoding, step } = await Decoding.prefill(model, rows)

  const threads = rows.flatMap((row) => {
    const before = saidBefore(model, row)
    return Array.from({ length: answers }, () => ({ before, ids: [] as number[] }))
  })
  // Finished threads leave the batch: `active` are the others, in the rows of the last step.
  let active = threads.map((thread, i) => ({ thread, row: Math.floor(i / answers) }))
  let { logits } = step
  while (active.length > 0) {
    active.forEach(({ thread, row }) => {
      const scores = Float32Array.from(logits[row]!)
      const context = { ids: [...thread.before, ...thread.ids], newTokens: thread.ids.length }
      for (const process of processors) process(scores, context)
      const id = do_sample ? drawOne(scores, random) : likeliest(scores)
      thread.ids.push(id)
      if (thread === threads[0] && threads.length === 1) watch.onToken?.(id)
    })
    const going = active.filter(
      ({ thread: { ids } }) => ids.length < max_new_tokens && !endIds.includes(ids.at(-1)!),
    )
    if (going.length === 0) break
    watch.check?.()
    const ids = going.map(({ thread }) => thread.ids.at(-1)!)
    const from = going.map(({ row }) => row)
    logits = (await decoding.next(ids, from)).logits
    active = going.map(({ thread }, row) => ({ thread, row }))
  }
  return rows.map((_, i) => threads.slice(i * answers, (i + 1) * answers).map(({ ids }) => ids))
}

async function searchBeams(
  model: Language,
  rows: readonly Row[],
  settings: GenerationSettings,
  random: Random,
  watch: Watch,
): Promise<number[][][]> {
  const { num_beams } = settings
  const endIds = model.manifest.tokens.eos_token_id
  const processors = processorsFor(settings, endIds)
  watch.check?.()
  const { decoding, step } = await Decoding.prefill(model, rows)

  const searches = rows.map((row) => ({
    before: saidBefore(model, row),
    search: new BeamSearch(settings, endIds, random),
  }))
  // Where each search's beams stand in the last step's rows; after the prefill all on the one row of the prompt.
  let active = searches.map((item, i) => ({ ...item, at: new Array<number>(num_beams).fill(i) }))
  let { logits } = step
  while (true) {
    const ids: number[] = []
    const from: number[] = []
    const going: typeof active = []
    for (const { before, search, at } of active) {
      const logProbabilities = search.running.map((generated, beam) => {
        const scores = logSoftmax(logits[at[beam]!]!)
        const context = { ids: [...before, ...generated], newTokens: generated.length }
        for (const process of processors) process(scores, context)
        return scores
      })
      const advance = search.advance(logProbabilities)
      if (search.done) continue
      going.push({ before, search, at: advance.ids.map((_, beam) => ids.length + beam) })
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

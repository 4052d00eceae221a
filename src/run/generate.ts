// Image embeddings and prompts -> generated ids: greedy search, sampling or beam search, each row with its own settings.
//
// transformers 5.18, GenerationMixin._sample and _beam_search (generation/utils.py). A row gives the same ids in a batch
// as alone: it has its own length, settings and random generator. At int4 on x86 with VNNI, rounding can change them
// (docs/benchmarks.md). Rows join and leave between steps.

import { completeSettings, type GenerationSettings } from '../generation-settings.ts'
import { BeamSearch } from './beam-search.ts'
import type { LanguageModel, PromptRow, RowOutput } from './language-model.ts'
import { logSoftmax, type Processor, processorsFor } from './logits-processors.ts'
import { createRng } from './sampling.ts'
import { type Search, SequenceSearch } from './search.ts'

export interface GenerationRow {
  prompt: PromptRow
  settings: GenerationSettings
  /** Whether a caller still waits for the row. A row without one is dropped unfinished. */
  isWanted?: () => boolean
  /** Called with each new id when the settings ask for one sequence without beams. */
  onToken?: (id: number) => void
  /** Called once, when the row's answers are complete: `num_return_sequences` of generated ids with the EOS token. */
  onDone: (answers: number[][]) => void
  /** Called in place of onDone with a RequestError `bad_settings` when the settings allow no token. */
  onError: (error: unknown) => void
}

interface GenerationOptions {
  /** Called before each run of a graph; throws to end all rows. */
  check?: () => void
  /** Ids that are never generated, as if the vocabulary did not contain them. */
  suppressTokens?: readonly number[]
}

/** The ids that end an answer: those of the settings, else the model's. */
export function resolveEosTokenIds(
  model: LanguageModel,
  { eos_token_id }: GenerationSettings,
): readonly number[] {
  return eos_token_id === null ? model.eosTokenIds : [eos_token_id].flat()
}

/** Rows of the language model that a request of these settings takes. */
export function rowsOf({ num_beams, num_return_sequences }: GenerationSettings): number {
  return Math.max(num_beams, num_return_sequences)
}

/** A row that runs: its search, and for each running sequence the state and logits that it continues. */
interface RunningRow extends GenerationRow {
  search: Search
  processors: readonly Processor[]
  outputs: RowOutput[]
}

/** Rows that are generated together. */
export class Generation {
  readonly #model: LanguageModel
  readonly #options: GenerationOptions
  #rows: RunningRow[] = []

  constructor(model: LanguageModel, options: GenerationOptions = {}) {
    this.#model = model
    this.#options = options
  }

  /** Rows of the language model that are not complete: beams and sampled sequences count one each. */
  get size(): number {
    return this.#rows.reduce((size, { outputs }) => size + outputs.length, 0)
  }

  /** Reads the rows' images and prompts. They take part in the next step. */
  async join(rows: readonly GenerationRow[]): Promise<void> {
    const { check } = this.#options
    check?.()
    const prompts = rows.map(({ prompt }) => prompt)
    const outputs = await this.#model.prefill(prompts, check)
    rows.forEach((row, i) => {
      const eosTokenIds = resolveEosTokenIds(this.#model, row.settings)
      const Kind = row.settings.num_beams > 1 ? BeamSearch : SequenceSearch
      const search = new Kind(row.settings, eosTokenIds, createRng(row.settings.seed))
      const processors = processorsFor(row.settings, eosTokenIds)
      // All running sequences begin as one.
      this.#rows.push({ ...row, search, processors, outputs: search.running.map(() => outputs[i]!) })
    })
  }

  /** Chooses the next token of each row; rows that are complete or unwanted leave. Then runs the model for the others. */
  async step(): Promise<void> {
    const continued = this.#rows.flatMap((row) => {
      if (!(row.isWanted?.() ?? true)) return []
      try {
        const next = this.#advance(row)
        return row.search.done ? [] : [{ row, next }]
      } catch (error) {
        row.onError(error)
        return []
      }
    })
    this.#rows = continued.map(({ row }) => row)
    if (continued.length === 0) return
    this.#options.check?.()
    const sequences = continued.flatMap(({ row, next }) =>
      next.map(({ from, id }) => ({ state: row.outputs[from]!.state, id })),
    )
    const outputs = await this.#model.step(
      sequences.map(({ state }) => state),
      sequences.map(({ id }) => id),
    )
    for (const { row, next } of continued) row.outputs = outputs.splice(0, next.length)
  }

  #advance(row: RunningRow) {
    const { search, settings, outputs } = row
    const next = search.advance(
      search.running.map((generated, i) => this.#scoresFor(row, outputs[i]!.logits, generated)),
    )
    const [first] = search.answers()
    if (settings.num_beams === 1 && settings.num_return_sequences === 1) row.onToken?.(first!.at(-1)!)
    if (search.done)
      row.onDone(search.answers().map((ids) => (settings.zero_id_as_two ? zeroAsTwo(ids) : ids)))
    return next
  }

  /** The scores [V] that the next token is chosen by: logits, with beams log probabilities, after the processors. */
  #scoresFor(
    { prompt, settings, processors }: RunningRow,
    logits: Float32Array,
    generated: readonly number[],
  ): Float32Array {
    const allowed = logits.slice()
    for (const id of this.#options.suppressTokens ?? []) allowed[id] = -Infinity
    const scores = settings.num_beams > 1 ? logSoftmax(allowed) : allowed
    if (processors.length === 0) return scores
    const context = this.#model.context(settings.penalize_answer_only ? undefined : prompt.ids, generated)
    for (const process of processors) process(scores, context)
    return scores
  }
}

/** LAVIS, blip2_vicuna_instruct.py, `generate`: 0 is <unk>, 2 is </s>. */
function zeroAsTwo(ids: readonly number[]): number[] {
  return ids.map((id) => (id === 0 ? 2 : id))
}

/**
 * For each row its `num_return_sequences` answers, best first with beams. An answer is the generated ids with the EOS
 * token. @throws RequestError `bad_settings` if a row's settings are wrong or allow no token
 */
export async function generate(
  model: LanguageModel,
  rows: readonly { prompt: PromptRow; settings?: Partial<GenerationSettings> }[],
  options: GenerationOptions = {},
): Promise<number[][][]> {
  const answers: number[][][] = []
  const errors: unknown[] = []
  const generation = new Generation(model, options)
  await generation.join(
    rows.map(({ prompt, settings = {} }, i) => ({
      prompt,
      settings: completeSettings(settings),
      onDone(own) {
        answers[i] = own
      },
      onError: (error) => void errors.push(error),
    })),
  )
  while (generation.size > 0) await generation.step()
  if (errors.length > 0) throw errors[0]
  return answers
}

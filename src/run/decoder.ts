// prefix and ids -> scores of the next token, one step at a time, keeping keys and values of the steps before.
//
// One prefill reads picture and prompt of all rows, a few rows of like length at a time; then each step reads one id a
// row. Rows may be copied, reordered or dropped between steps (beams, finished rows): `beamIdx` says which earlier row
// each row goes on from. Rows of different lengths are padded on the left, between picture and prompt, and the padding
// is masked.

import { LANGUAGE, type Manifest } from '../artifact/contract.ts'
import { KVCache } from './kv-cache.ts'
import type { FloatTensor, Session } from './session.ts'

export interface PromptRow {
  /** [Q, D] of this row's picture. */
  prefix: Float32Array
  /** The prompt's ids, the one that begins a text included. */
  ids: readonly number[]
}

/** What of a model this stage needs. */
export interface LanguageModel {
  language: Session
  manifest: Manifest
}

/** How `Decoder.prefill` reads many rows. */
export interface PrefillOptions {
  /** Rows in one run of the graph. Default: all. */
  rowsPerRun?: number
  /** Called between runs; throws to end them. */
  check?: () => void
}

export interface Step {
  /** For each row, the scores [V] of the next token. */
  logits: Float32Array[]
}

export class Decoder {
  readonly #model: LanguageModel
  /** For each row, 1 for what is read and 0 for padding, position by position. */
  #masks: number[][]
  readonly #cache: KVCache

  private constructor(model: LanguageModel, masks: number[][], cache: KVCache) {
    this.#model = model
    this.#masks = masks
    this.#cache = cache
  }

  /**
   * Reads pictures and prompts, at most `rowsPerRun` rows of [Q + T] positions in one run of the graph. `check` is
   * called between runs: throws to end them.
   */
  static async prefill(
    model: LanguageModel,
    rows: readonly PromptRow[],
    { rowsPerRun = rows.length, check = () => {} }: PrefillOptions = {},
  ): Promise<{ decoder: Decoder; step: Step }> {
    // Those of like length together: what is padded is computed all the same.
    const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.ids.length - rows[b]!.ids.length)
    const places: { decoder: Decoder; row: number; logits: Float32Array }[] = []
    for (let at = 0; at < order.length; at += rowsPerRun) {
      if (at > 0) check()
      const some = order.slice(at, at + rowsPerRun)
      const { decoder, step } = await Decoder.#read(
        model,
        some.map((i) => rows[i]!),
      )
      some.forEach((i, row) => {
        places[i] = { decoder, row, logits: step.logits[row]! }
      })
    }
    const step = { logits: places.map(({ logits }) => logits) }
    const single = places[0]!.decoder
    if (places.every(({ decoder, row }, i) => decoder === single && row === i))
      return { decoder: single, step }
    return { decoder: Decoder.#join(model, places), step }
  }

  /** One run over all positions of these rows. */
  static async #read(
    model: LanguageModel,
    rows: readonly PromptRow[],
  ): Promise<{ decoder: Decoder; step: Step }> {
    const { sizes, tokens } = model.manifest
    const { queries: Q, width: D } = sizes
    const T = Math.max(...rows.map(({ ids }) => ids.length))
    const prefix = new Float32Array(rows.length * Q * D)
    const ids: number[] = []
    const masks: number[][] = []
    rows.forEach((row, i) => {
      const padding = new Array<number>(T - row.ids.length).fill(0)
      prefix.set(row.prefix, i * Q * D)
      ids.push(...padding.map(() => tokens.pad_token_id ?? 0), ...row.ids)
      masks.push([...new Array<number>(Q).fill(1), ...padding, ...row.ids.map(() => 1)])
    })
    const decoder = Decoder.#empty(model, rows.length)
    const logits = await decoder.#run({ data: prefix, dims: [rows.length, Q, D] }, ids, masks, 1)
    return { decoder, step: { logits: logits.map((perPosition) => perPosition[0]!) } }
  }

  static #empty(model: LanguageModel, rows: number): Decoder {
    const masks = Array.from({ length: rows }, () => [])
    return new Decoder(model, masks, new KVCache(model.manifest.sizes, rows))
  }

  static #join(model: LanguageModel, places: readonly { decoder: Decoder; row: number }[]): Decoder {
    const read = places.map(({ decoder, row }) => decoder.#masks[row]!)
    const longest = Math.max(...read.map((mask) => mask.length))
    const masks = read.map((mask) => [...mask, ...new Array<number>(longest - mask.length).fill(0)])
    const picks = places.map(({ decoder, row }) => ({ cache: decoder.#cache, row }))
    return new Decoder(model, masks, KVCache.concat(model.manifest.sizes, picks))
  }

  /** All positions' logits [Q + T][V] of one row: what a comparison with the reference needs. */
  static async allLogits(model: LanguageModel, row: PromptRow): Promise<Float32Array[]> {
    const { queries: Q, width: D } = model.manifest.sizes
    const mask = new Array<number>(Q + row.ids.length).fill(1)
    const decoder = Decoder.#empty(model, 1)
    const logits = await decoder.#run({ data: row.prefix, dims: [1, Q, D] }, row.ids, [mask], mask.length)
    return logits[0]!
  }

  /** One more id for each row; row i goes on from what was row beamIdx[i]. */
  async step(tokenIds: readonly number[], beamIdx: readonly number[]): Promise<Step> {
    this.#cache.reorder(beamIdx)
    this.#masks = beamIdx.map((row) => [...this.#masks[row]!])
    const none = { data: new Float32Array(0), dims: [tokenIds.length, 0, this.#model.manifest.sizes.width] }
    const masks = tokenIds.map(() => [1])
    const logits = await this.#run(none, tokenIds, masks, 1)
    return { logits: logits.map((perPosition) => perPosition[0]!) }
  }

  /** `masks` are of the positions read now. Returns, for each row, the scores at its last `keep` positions. */
  async #run(
    prefix: FloatTensor,
    ids: readonly number[],
    masks: readonly (readonly number[])[],
    keep: number,
  ): Promise<Float32Array[][]> {
    const { layers, vocabulary: V } = this.#model.manifest.sizes
    const rows = masks.length
    const [{ length } = []] = masks
    const empty = new Array<number>(this.#cache.freeSlots).fill(0)
    const mask = masks.map((now, row) => [...this.#masks[row]!, ...empty, ...now])
    const feeds = {
      [LANGUAGE.prefix]: prefix,
      [LANGUAGE.input_ids]: int64(ids, [rows, ids.length / rows]),
      [LANGUAGE.attention_mask]: int64(mask.flat(), [rows, mask[0]!.length]),
      [LANGUAGE.logits_to_keep]: int64([keep], []),
      ...this.#cache.feeds(),
    }
    const added = Array.from({ length: layers }, (_, i) => [LANGUAGE.newKey(i), LANGUAGE.newValue(i)])
    const outputs = await this.#model.language.run(feeds, [LANGUAGE.logits, ...added.flat()])
    this.#cache.append(outputs, length)
    masks.forEach((now, row) => {
      this.#masks[row]!.push(...now)
    })
    const { data } = outputs[LANGUAGE.logits]!
    return Array.from({ length: rows }, (_, row) =>
      Array.from({ length: keep }, (_, k) => data.subarray((row * keep + k) * V, (row * keep + k + 1) * V)),
    )
  }
}

function int64(
  values: readonly number[],
  dims: readonly number[],
): { data: BigInt64Array; dims: readonly number[] } {
  return { data: BigInt64Array.from(values, (value) => BigInt(value)), dims }
}

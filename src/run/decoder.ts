// prefix [Q, D] and ids of each row -> logits [V] of its next token, one step at a time, with a KV cache.
//
// Prefill reads the image embeddings and prompts of all rows, a few rows of similar length in one run. Each step then
// reads one id a row. Between steps rows can be copied, reordered or dropped (beams, finished rows): `beamIdx` names the
// earlier row that each row continues. Shorter prompts are padded between image and prompt; the padding is masked.

import { LANGUAGE, type Manifest } from '../artifact/contract.ts'
import { KVCache } from './kv-cache.ts'
import type { FloatTensor, Session } from './session.ts'

export interface PromptRow {
  /** [Q, D], the row's image embeddings. */
  prefix: Float32Array
  /** The prompt's ids, with the BOS token. */
  ids: readonly number[]
}

/** The part of a model that decoding needs. */
export interface LanguageModel {
  language: Session
  manifest: Manifest
}

export interface Step {
  /** For each row, [V]: the next token's logits. */
  logits: Float32Array[]
}

/** The state of one batch of rows while their tokens are generated. */
export class Decoder {
  readonly #model: LanguageModel
  /** For each row and position read so far, 1, or 0 for padding. */
  #masks: number[][]
  readonly #cache: KVCache

  private constructor(model: LanguageModel, masks: number[][], cache: KVCache) {
    this.#model = model
    this.#masks = masks
    this.#cache = cache
  }

  /**
   * Reads images and prompts, at most `rowsPerRun` rows in one run of the graph (default: all). `check` is called
   * between runs; it throws to cancel.
   */
  static async prefill(
    model: LanguageModel,
    rows: readonly PromptRow[],
    { rowsPerRun = rows.length, check = () => {} }: { rowsPerRun?: number; check?: () => void } = {},
  ): Promise<{ decoder: Decoder; step: Step }> {
    if (rows.length <= rowsPerRun) return await Decoder.#read(model, rows)
    // Rows of similar length share a run: padding costs as much as tokens.
    const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.ids.length - rows[b]!.ids.length)
    const parts: { decoder: Decoder; row: number; logits: Float32Array }[] = []
    for (let at = 0; at < order.length; at += rowsPerRun) {
      if (at > 0) check()
      const indices = order.slice(at, at + rowsPerRun)
      const run = indices.map((i) => rows[i]!)
      const { decoder, step } = await Decoder.#read(model, run)
      indices.forEach((i, row) => {
        parts[i] = { decoder, row, logits: step.logits[row]! }
      })
    }
    return { decoder: Decoder.#join(model, parts), step: { logits: parts.map(({ logits }) => logits) } }
  }

  /** One run of the graph over all positions of these rows. */
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

  /** A decoder whose row i is row parts[i].row of parts[i].decoder. */
  static #join(model: LanguageModel, parts: readonly { decoder: Decoder; row: number }[]): Decoder {
    const unequal = parts.map(({ decoder, row }) => decoder.#masks[row]!)
    const longest = Math.max(...unequal.map((mask) => mask.length))
    const masks = unequal.map((mask) => [...mask, ...new Array<number>(longest - mask.length).fill(0)])
    const picks = parts.map(({ decoder, row }) => ({ cache: decoder.#cache, row }))
    return new Decoder(model, masks, KVCache.concat(model.manifest.sizes, picks))
  }

  /** Logits [Q + T][V] of all positions of one row, for comparisons. */
  static async allLogits(model: LanguageModel, row: PromptRow): Promise<Float32Array[]> {
    const { queries: Q, width: D } = model.manifest.sizes
    const mask = new Array<number>(Q + row.ids.length).fill(1)
    const decoder = Decoder.#empty(model, 1)
    const logits = await decoder.#run({ data: row.prefix, dims: [1, Q, D] }, row.ids, [mask], mask.length)
    return logits[0]!
  }

  /** Reads one id a row; row i continues what was row beamIdx[i]. */
  async step(tokenIds: readonly number[], beamIdx: readonly number[]): Promise<Step> {
    this.#cache.reorder(beamIdx)
    this.#masks = beamIdx.map((row) => [...this.#masks[row]!])
    const none = { data: new Float32Array(0), dims: [tokenIds.length, 0, this.#model.manifest.sizes.width] }
    const masks = tokenIds.map(() => [1])
    const logits = await this.#run(none, tokenIds, masks, 1)
    return { logits: logits.map((perPosition) => perPosition[0]!) }
  }

  /** One run of the graph. `masks` cover the positions of this run. Returns logits [V] of each row's last `keep` positions. */
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
    const mask = masks.map((added, row) => [...this.#masks[row]!, ...empty, ...added])
    const feeds = {
      [LANGUAGE.prefix]: prefix,
      [LANGUAGE.input_ids]: int64(ids, [rows, ids.length / rows]),
      [LANGUAGE.attention_mask]: int64(mask.flat(), [rows, mask[0]!.length]),
      [LANGUAGE.logits_to_keep]: int64([keep], []),
      ...this.#cache.feeds(),
    }
    const kvOutputs = Array.from({ length: layers }, (_, i) => [LANGUAGE.newKey(i), LANGUAGE.newValue(i)])
    const outputs = await this.#model.language.run(feeds, [LANGUAGE.logits, ...kvOutputs.flat()])
    this.#cache.append(outputs, length)
    masks.forEach((added, row) => {
      this.#masks[row]!.push(...added)
    })
    const { data } = outputs[LANGUAGE.logits]!
    return Array.from({ length: rows }, (_, row) =>
      Array.from({ length: keep }, (_, k) => data.subarray((row * keep + k) * V, (row * keep + k + 1) * V)),
    )
  }
}

function int64(values: readonly number[], dims: readonly number[]) {
  return { data: BigInt64Array.from(values, BigInt), dims }
}

// prefix [Q, D] and ids of each row -> logits [V] of its next token, one step at a time, with a KV cache.
//
// Prefill reads the image embeddings and prompts of all rows, a few rows of similar length in one run. Each step then
// reads one id a row. Between steps rows can be copied, reordered or dropped (beams, finished rows): `beamIdx` names the
// earlier row that each row continues. Shorter prompts are padded between image and prompt; the padding is masked.

import { LANGUAGE, type Manifest } from '../artifact/contract.ts'
import { type CachedRow, KVCache } from './kv-cache.ts'
import { concat, type FloatTensor, type Session } from './session.ts'

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

/** The state of one batch of rows while their tokens are generated. */
export class Decoder {
  readonly #model: LanguageModel
  #cache: KVCache

  private constructor(model: LanguageModel, cache: KVCache) {
    this.#model = model
    this.#cache = cache
  }

  /**
   * Reads images and prompts, at most `rowsPerRun` rows in one run of the graph (default: all). `check` is called
   * between runs; it throws to cancel. `logits[i]` [V] are those of row i's first new token.
   */
  static async prefill(
    model: LanguageModel,
    rows: readonly PromptRow[],
    { rowsPerRun = rows.length, check = () => {} }: { rowsPerRun?: number; check?: () => void } = {},
  ): Promise<{ decoder: Decoder; logits: Float32Array[] }> {
    // Rows of similar length share a run: padding costs as much as tokens.
    const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.ids.length - rows[b]!.ids.length)
    const read: CachedRow[] = []
    const logits: Float32Array[] = []
    for (let at = 0; at < order.length; at += rowsPerRun) {
      if (at > 0) check()
      const indices = order.slice(at, at + rowsPerRun).sort((a, b) => a - b)
      const cache = new KVCache(model.manifest.sizes, indices.length)
      const prompts = indices.map((i) => rows[i]!)
      const ofRun = await readPrompts(model, cache, prompts, 1)
      indices.forEach((i, row) => {
        read[i] = { cache, row }
        logits[i] = ofRun[row]!
      })
    }
    return { decoder: new Decoder(model, KVCache.pick(read)), logits }
  }

  /** Logits [Q + T][V] of all positions of one row, for comparisons. */
  static async allLogits(model: LanguageModel, row: PromptRow): Promise<Float32Array[]> {
    const { sizes } = model.manifest
    return await readPrompts(model, new KVCache(sizes, 1), [row], sizes.queries + row.ids.length)
  }

  /** Reads one id a row; row i continues what was row beamIdx[i]. Returns the logits [V] of each row's next token. */
  async step(tokenIds: readonly number[], beamIdx: readonly number[]): Promise<Float32Array[]> {
    const cache = this.#cache
    this.#cache = KVCache.pick(beamIdx.map((row) => ({ cache, row })))
    const none = { data: new Float32Array(0), dims: [tokenIds.length, 0, this.#model.manifest.sizes.width] }
    const masks = tokenIds.map(() => [1])
    return await run(this.#model, this.#cache, none, tokenIds, masks, 1)
  }
}

/** One run of the graph over all positions of these rows. Returns logits [V] of each row's last `keep` positions. */
async function readPrompts(
  model: LanguageModel,
  cache: KVCache,
  rows: readonly PromptRow[],
  keep: number,
): Promise<Float32Array[]> {
  const { sizes, tokens } = model.manifest
  const { queries: Q, width: D } = sizes
  const T = Math.max(...rows.map(({ ids }) => ids.length))
  const prefix = concat(rows.map((row) => row.prefix))
  const padded = (values: readonly number[], value: number) => [
    ...new Array<number>(T - values.length).fill(value),
    ...values,
  ]
  const ids = rows.flatMap((row) => padded(row.ids, tokens.pad_token_id ?? 0))
  const masks = rows.map((row) => [
    ...new Array<number>(Q).fill(1),
    ...padded(
      row.ids.map(() => 1),
      0,
    ),
  ])
  return await run(model, cache, { data: prefix, dims: [rows.length, Q, D] }, ids, masks, keep)
}

/** One run of the graph. `masks` cover the positions of this run. Returns logits [V] of each row's last `keep` positions. */
async function run(
  { language, manifest }: LanguageModel,
  cache: KVCache,
  prefix: FloatTensor,
  ids: readonly number[],
  masks: readonly (readonly number[])[],
  keep: number,
): Promise<Float32Array[]> {
  const { layers, vocabulary: V } = manifest.sizes
  const rows = masks.length
  const mask = cache.maskWith(masks)
  const feeds = {
    [LANGUAGE.prefix]: prefix,
    [LANGUAGE.input_ids]: int64(ids, [rows, ids.length / rows]),
    [LANGUAGE.attention_mask]: int64(mask.flat(), [rows, mask[0]!.length]),
    [LANGUAGE.logits_to_keep]: int64([keep], []),
    ...cache.feeds(),
  }
  const kvOutputs = Array.from({ length: layers }, (_, i) => [LANGUAGE.newKey(i), LANGUAGE.newValue(i)])
  const outputs = await language.run(feeds, [LANGUAGE.logits, ...kvOutputs.flat()])
  cache.append(outputs, masks)
  const { data } = outputs[LANGUAGE.logits]!
  return Array.from({ length: rows * keep }, (_, i) => data.subarray(i * V, (i + 1) * V))
}

function int64(values: readonly number[], dims: readonly number[]) {
  return { data: BigInt64Array.from(values, BigInt), dims }
}

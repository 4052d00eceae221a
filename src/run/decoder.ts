// A decoder-only language model: prefix [Q, D] and ids of each row -> logits [V] of its next token, with a KV cache.
//
// Prefill reads the image embeddings and prompts, a few rows of similar length in one run. Each step then reads one id a
// row. Shorter prompts are padded between image and prompt; the padding is masked.

import { type DecoderDescription, LANGUAGE } from '../artifact/contract.ts'
import { type CachedRow, KVCache } from './kv-cache.ts'
import type { LanguageModel, PromptRow, RowOutput, RowState } from './language-model.ts'
import { itemsPerRun } from './micro-batch.ts'
import type { Provider, Session } from './session.ts'
import { concatRows, Tensor } from './tensor.ts'

export interface DecoderOptions {
  /** Runs the graph `language`. */
  session: Session
  description: DecoderDescription
  /** Q */
  queries: number
  /** Default: cpu. */
  provider?: Provider
  /** Rows in one prefill run, by the longest prompt. Default: as many as micro-batch.ts allows. */
  rowsPerRun?: number
}

export function openDecoder({
  session,
  description,
  queries: Q,
  provider,
  rowsPerRun,
}: DecoderOptions): LanguageModel {
  const { width: D, vocabulary: V, positions, image_token_id, bos_token_id } = description
  const kvOutputs = Array.from({ length: description.layers }, (_, i) => [
    LANGUAGE.newKey(i),
    LANGUAGE.newValue(i),
  ]).flat()

  /**
   * One run of the graph. `masks` cover the positions of this run. Returns logits [V] of each row's last `keep` positions.
   */
  const run = async (
    cache: KVCache,
    prefix: Tensor,
    ids: readonly number[],
    masks: readonly (readonly number[])[],
    keep: number,
  ): Promise<Float32Array[]> => {
    const rows = masks.length
    const mask = cache.maskWith(masks)
    const feeds = {
      [LANGUAGE.prefix]: prefix,
      [LANGUAGE.input_ids]: Tensor.int64(ids, [rows, ids.length / rows]),
      [LANGUAGE.attention_mask]: Tensor.int64(mask.flat(), [rows, mask[0]!.length]),
      [LANGUAGE.logits_to_keep]: Tensor.int64([keep], []),
      ...cache.feeds(),
    }
    const outputs = await session.run(feeds, [LANGUAGE.logits, ...kvOutputs])
    await cache.append(outputs, masks)
    const logits = await outputs[LANGUAGE.logits]!.floats()
    return Array.from({ length: rows * keep }, (_, i) => logits.subarray(i * V, (i + 1) * V))
  }

  /** One run over all positions of these rows. */
  const readPrompts = async (cache: KVCache, rows: readonly PromptRow[], keep: number) => {
    const longest = Math.max(...rows.map(({ ids }) => ids.length))
    const padded = (values: readonly number[], value: number) => [
      ...new Array<number>(longest - values.length).fill(value),
      ...values,
    ]
    const ids = rows.flatMap((row) => padded(row.ids, description.pad_token_id ?? 0))
    const ones = (length: number) => new Array<number>(length).fill(1)
    const masks = rows.map((row) => [...ones(Q), ...padded(ones(row.ids.length), 0)])
    return await run(cache, await concatRows(rows.map((row) => row.prefix)), ids, masks, keep)
  }

  return {
    vocabulary: V,
    eosTokenIds: description.eos_token_id,
    padTokenId: description.pad_token_id,
    imageTokenId: image_token_id,
    start: (promptIds) => (promptIds.length === 0 ? [bos_token_id] : [...promptIds]),
    room: (promptLength) => (positions === null ? Infinity : positions - Q - promptLength),
    /** transformers counts the image's placeholders among the ids. */
    context(promptIds, generated) {
      const placeholders = image_token_id === null ? [] : new Array<number>(Q).fill(image_token_id)
      return {
        ids: [...placeholders, ...promptIds, ...generated],
        length: Q + promptIds.length + generated.length,
        newTokens: generated.length,
      }
    },
    async prefill(rows, check = () => {}) {
      const longest = Math.max(...rows.map(({ ids }) => ids.length))
      const perRun = rowsPerRun ?? itemsPerRun((Q + longest) * D, provider)
      // Rows of similar length share a run: padding costs as much as tokens.
      const order = rows.map((_, i) => i).sort((a, b) => rows[a]!.ids.length - rows[b]!.ids.length)
      const read: RowOutput[] = []
      for (let at = 0; at < order.length; at += perRun) {
        if (at > 0) check()
        const indices = order.slice(at, at + perRun).sort((a, b) => a - b)
        const cache = new KVCache(description, indices.length)
        const prompts = indices.map((i) => rows[i]!)
        const logits = await readPrompts(cache, prompts, 1)
        indices.forEach((i, row) => {
          read[i] = { state: { cache, row } satisfies CachedRow, logits: logits[row]! }
        })
      }
      return read
    },
    async step(states: readonly RowState[], tokenIds) {
      const picked = KVCache.pick(states as readonly CachedRow[])
      const none = Tensor.float32(new Float32Array(0), [tokenIds.length, 0, D])
      const masks = tokenIds.map(() => [1])
      const ids: number[] = []
      picked.forEach(({ row }, i) => {
        ids[row] = tokenIds[i]!
      })
      const logits = await run(picked[0]!.cache, none, ids, masks, 1)
      return picked.map((state) => ({ state, logits: logits[state.row]! }))
    },
    allLogits: (row) => readPrompts(new KVCache(description, 1), [row], Q + row.ids.length),
  }
}

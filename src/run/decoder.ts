// A decoder-only language model: prefix [Q, D] and ids of each row -> logits [V] of its next token, with a KV cache.
//
// Prefill reads the image embeddings and prompts, a few rows of similar length in one run. Each step then reads one id a
// row. Shorter prompts are padded between image and prompt; the padding is masked. What an earlier prompt about the same
// image left in a row's prompt cache is copied: the row reads only the ids after the part that the two share.

import { type DecoderDescription, LANGUAGE } from '../artifact/contract.ts'
import { type CachedRow, KVCache, type Positions, positionsOf } from './kv-cache.ts'
import type { KeptPrompt, LanguageModel, PromptRow, RowOutput, RowState } from './language-model.ts'
import { inRuns, itemsPerRun } from './micro-batch.ts'
import type { Provider, Session } from './session.ts'
import { concatRows, Tensor } from './tensor.ts'

interface DecoderOptions {
  /** Runs the graph `language`. */
  session: Session
  description: DecoderDescription
  /** Q */
  queries: number
  /** Whether the graph has the output `hidden`. */
  hasHidden?: boolean
  /** Default: cpu. */
  provider?: Provider
  /** Rows in one prefill run, by the longest prompt. Default: as many as micro-batch.ts allows. */
  rowsPerRun?: number
}

interface DecodedPrompt extends KeptPrompt {
  ids: readonly number[]
  /** Of the image embeddings, then of the ids. */
  parts: readonly Positions[]
}

/** What prefill does for a row. */
interface Reading {
  row: PromptRow
  /** Copied from the prompt cache; empty if the image embeddings have to be read. */
  parts: readonly Positions[]
  /** The ids that have to be read. */
  ids: readonly number[]
  /** Whether the prompt cache lacks something of the prompt. */
  isNew: boolean
}

export function openDecoder({
  session,
  description,
  queries: Q,
  hasHidden,
  provider,
  rowsPerRun,
}: DecoderOptions): LanguageModel {
  const { width: D, vocabulary: V, positions, image_token_id, bos_token_id } = description
  const noPrefix = (rows: number) => Tensor.float32(new Float32Array(0), [rows, 0, D])

  const feedsOf = (
    cache: KVCache,
    prefix: Tensor,
    ids: readonly number[],
    masks: readonly (readonly number[])[],
    keep: number,
  ) => {
    const rows = masks.length
    const mask = cache.maskWith(masks)
    return {
      [LANGUAGE.prefix]: prefix,
      [LANGUAGE.input_ids]: Tensor.int64(ids, [rows, ids.length / rows]),
      [LANGUAGE.attention_mask]: Tensor.int64(mask.flat(), [rows, mask[0]!.length]),
      [LANGUAGE.logits_to_keep]: Tensor.int64([keep], []),
      ...cache.feeds(),
    }
  }

  /**
   * One run of the graph. `masks` cover the positions of this run. Returns logits [V] of each row's last `keep` positions.
   */
  const run = async (
    cache: KVCache,
    prefix: Tensor,
    ids: readonly number[],
    masks: readonly (readonly number[])[],
    keep: number,
  ) => {
    const rows = masks.length
    const feeds = feedsOf(cache, prefix, ids, masks, keep)
    const outputs = await session.run(feeds, [LANGUAGE.logits, ...cache.outputNames])
    await cache.append(outputs, masks)
    const all = await outputs[LANGUAGE.logits]!.floats()
    const logits = Array.from({ length: rows * keep }, (_, i) => all.subarray(i * V, (i + 1) * V))
    return { logits, outputs }
  }

  const textFeatures = async (ids: readonly number[]) => {
    const cache = KVCache.holding(description, [[]])
    const masks = [constant(ids.length, 1)]
    const outputs = await session.run(feedsOf(cache, noPrefix(1), ids, masks, ids.length), [LANGUAGE.hidden])
    return outputs[LANGUAGE.hidden]!
  }

  const readingOf = (row: PromptRow): Reading => {
    const kept = row.promptCache?.get() as DecodedPrompt | undefined
    if (!kept) return { row, parts: [], ids: row.ids, isNew: true }
    const differing = row.ids.findIndex((id, i) => id !== kept.ids[i])
    // The last id is read in any case, for its logits.
    const copied = Math.min(differing < 0 ? Infinity : differing, row.ids.length - 1)
    const parts = firstOf(kept.parts, Q + copied)
    return { row, parts, ids: row.ids.slice(copied), isNew: differing >= 0 }
  }

  /** One run over the positions that these rows have to read: the image embeddings in all of them, or in none. */
  const readPrompts = async (readings: readonly Reading[], keep: number) => {
    const longest = Math.max(...readings.map(({ ids }) => ids.length))
    const padded = (values: readonly number[], value: number) => [
      ...constant(longest - values.length, value),
      ...values,
    ]
    const isImageRead = readings[0]!.parts.length === 0
    const cache = KVCache.holding(
      description,
      readings.map(({ parts }) => parts),
    )
    const prefix = isImageRead
      ? await concatRows(readings.map(({ row }) => row.prefix))
      : noPrefix(readings.length)
    const ids = readings.flatMap((reading) => padded(reading.ids, description.pad_token_id ?? 0))
    const masks = readings.map((reading) => [
      ...constant(isImageRead ? Q : 0, 1),
      ...padded(constant(reading.ids.length, 1), 0),
    ])
    const { logits, outputs } = await run(cache, prefix, ids, masks, keep)
    for (const [i, { row, parts, isNew }] of readings.entries()) {
      if (!row.promptCache || !isNew) continue
      const kept = [...parts, ...(await positionsOf(description, outputs, masks[i]!, i))]
      row.promptCache.set(keptPrompt(row.ids, kept))
    }
    return { cache, logits }
  }

  const readTogether = async (readings: readonly Reading[]): Promise<RowOutput[]> => {
    const { cache, logits } = await readPrompts(readings, 1)
    return logits.map((own, row) => ({ state: { cache, row } satisfies CachedRow, logits: own }))
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
      const newTokens = generated.length
      if (!promptIds) return { ids: generated, length: newTokens, newTokens }
      const placeholders = image_token_id === null ? [] : new Array<number>(Q).fill(image_token_id)
      return {
        ids: [...placeholders, ...promptIds, ...generated],
        length: Q + promptIds.length + newTokens,
        newTokens,
      }
    },
    async prefill(rows, check = () => {}) {
      const readings = rows.map(readingOf)
      const read: RowOutput[] = []
      for (const isImageRead of [true, false]) {
        const indices = readings.flatMap(({ parts }, i) => ((parts.length === 0) === isImageRead ? [i] : []))
        if (indices.length === 0) continue
        if (read.length > 0) check()
        const longest = Math.max(...indices.map((i) => readings[i]!.ids.length))
        const perRun = rowsPerRun ?? itemsPerRun(((isImageRead ? Q : 0) + longest) * D, provider)
        const chosen = indices.map((i) => readings[i]!)
        const outputs = await inRuns(chosen, perRun, readTogether, check)
        outputs.forEach((output, i) => {
          read[indices[i]!] = output
        })
      }
      return read
    },
    async step(states: readonly RowState[], tokenIds) {
      const picked = KVCache.pick(states as readonly CachedRow[])
      const ids: number[] = []
      picked.forEach(({ row }, i) => {
        ids[row] = tokenIds[i]!
      })
      const masks = tokenIds.map(() => [1])
      const { logits } = await run(picked[0]!.cache, noPrefix(ids.length), ids, masks, 1)
      return picked.map((state) => ({ state, logits: logits[state.row]! }))
    },
    ...(hasHidden && { textFeatures }),
    async allLogits({ prefix, ids }) {
      const reading = { row: { prefix, ids }, parts: [], ids, isNew: false }
      return (await readPrompts([reading], Q + ids.length)).logits
    },
  }
}

function keptPrompt(ids: readonly number[], parts: readonly Positions[]): DecodedPrompt {
  const arrays = parts.flatMap(({ values }) => [...values.values()])
  return { ids, parts, byteLength: arrays.reduce((bytes, array) => bytes + array.byteLength, 0) }
}

/** The first `length` positions of these. */
function firstOf(parts: readonly Positions[], length: number): Positions[] {
  const first: Positions[] = []
  let left = length
  for (const part of parts) {
    if (left === 0) break
    first.push({ ...part, length: Math.min(part.length, left) })
    left -= first.at(-1)!.length
  }
  return first
}

function constant(length: number, value: number): number[] {
  return new Array<number>(length).fill(value)
}

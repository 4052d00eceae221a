// An encoder-decoder language model: prefix [Q, D] and ids of each row -> encoder -> logits [V] of its next token.
//
// The encoder reads image embeddings and prompts once, a few rows of similar length in one run; shorter prompts are padded at
// their end. It gives the keys and values that the decoder attends to. All beams of a prompt share them; only the cache of
// the decoder's own positions grows. The decoder begins with a start token, and its ids are all that transformers'
// processors see.

import { CROSS, ENCODER, type EncoderDecoderDescription, LANGUAGE } from '../artifact/contract.ts'
import { type CachedRow, type CachePort, KVCache } from './kv-cache.ts'
import type { LanguageModel, PromptRow, RowOutput, RowState } from './language-model.ts'
import { inRuns, itemsPerRun } from './micro-batch.ts'
import type { Provider, Session } from './session.ts'
import { concatRows, Tensor } from './tensor.ts'

interface EncoderDecoderOptions {
  /** Runs the graph `encoder`. */
  encoder: Session
  /** Runs the graph `language`. */
  decoder: Session
  description: EncoderDecoderDescription
  /** Q */
  queries: number
  /** Default: cpu. */
  provider?: Provider
  /** Rows in one run of the encoder, by the longest prompt. Default: as many as micro-batch.ts allows. */
  rowsPerRun?: number
}

/** A row of the decoder's own cache, and its prompt in the keys and values of the encoder. */
interface State {
  own: CachedRow
  prompt: CachedRow
}

export function openEncoderDecoder({
  encoder,
  decoder,
  description,
  queries: Q,
  provider,
  rowsPerRun,
}: EncoderDecoderOptions): LanguageModel {
  const { width: D, vocabulary: V, positions, bos_token_id, decoder_start_token_id } = description
  const crossPorts: CachePort[] = Array.from({ length: description.layers }, (_, i) => [
    { input: CROSS.key(i), output: ENCODER.crossKey(i) },
    { input: CROSS.value(i), output: ENCODER.crossValue(i) },
  ]).flat()

  /** One run of the encoder. Returns the outputs of these names, and the masks of its positions. */
  const runEncoder = async (rows: readonly PromptRow[], names: readonly string[]) => {
    const longest = Math.max(...rows.map(({ ids }) => ids.length))
    const times = (value: number, count: number) => new Array<number>(count).fill(value)
    const pad = description.pad_token_id ?? 0
    const ids = rows.flatMap((row) => [...row.ids, ...times(pad, longest - row.ids.length)])
    const prefix = rows[0]!.prefix.dims[1]!
    const masks = rows.map((row) => [
      ...times(1, prefix + row.ids.length),
      ...times(0, longest - row.ids.length),
    ])
    const feeds = {
      [ENCODER.prefix]: await concatRows(rows.map((row) => row.prefix)),
      [ENCODER.input_ids]: Tensor.int64(ids, [rows.length, longest]),
      [ENCODER.attention_mask]: Tensor.int64(masks.flat(), [rows.length, prefix + longest]),
    }
    return { outputs: await encoder.run(feeds, names), masks }
  }

  const encode = async (row: PromptRow): Promise<Tensor> => {
    const { outputs } = await runEncoder([row], [ENCODER.encoder])
    return outputs[ENCODER.encoder]!
  }

  /** The keys and values that the decoder attends to, one row for each prompt. */
  const readPrompts = async (rows: readonly PromptRow[]): Promise<KVCache> => {
    const cross = new KVCache(description, rows.length, crossPorts)
    const { outputs, masks } = await runEncoder(rows, cross.outputNames)
    await cross.append(outputs, masks)
    return cross
  }

  /** One run of the decoder; row i reads `ids[i]` for the prompt `promptOf[i]`. Returns logits [V] of each row's ids. */
  const runDecoder = async (
    own: KVCache,
    cross: KVCache,
    promptOf: readonly number[],
    ids: readonly (readonly number[])[],
  ): Promise<Float32Array[]> => {
    const masks = ids.map((row) => row.map(() => 1))
    const mask = own.maskWith(masks)
    const [rows, length] = [ids.length, ids[0]!.length]
    const feeds = {
      [LANGUAGE.input_ids]: Tensor.int64(ids.flat(), [rows, length]),
      [LANGUAGE.attention_mask]: Tensor.int64(mask.flat(), [rows, mask[0]!.length]),
      [LANGUAGE.logits_to_keep]: Tensor.int64([length], []),
      ...own.feeds(),
      ...cross.feeds(),
      ...groupFeeds(promptOf, cross.maskWith(new Array<number[]>(cross.rows).fill([]))),
    }
    const outputs = await decoder.run(feeds, [LANGUAGE.logits, ...own.outputNames])
    await own.append(outputs, masks)
    const logits = await outputs[LANGUAGE.logits]!.floats()
    return Array.from({ length: rows * length }, (_, i) => logits.subarray(i * V, (i + 1) * V))
  }

  return {
    vocabulary: V,
    eosTokenIds: description.eos_token_id,
    padTokenId: description.pad_token_id,
    imageTokenId: description.image_token_id,
    start: (promptIds) => (promptIds.length === 0 ? [bos_token_id] : [...promptIds]),
    /** An answer is another text than the prompt, so it takes no room from it. */
    room(promptLength) {
      const left = positions === null ? Infinity : positions - Q - promptLength
      return left >= 0 ? Infinity : left + 1
    },
    context: (_, generated) => ({
      ids: [decoder_start_token_id, ...generated],
      length: 1 + generated.length,
      newTokens: generated.length,
    }),
    async prefill(rows, check = () => {}) {
      const longest = Math.max(...rows.map(({ ids }) => ids.length))
      const perRun = rowsPerRun ?? itemsPerRun((Q + longest) * D, provider)
      const read = async (prompts: readonly PromptRow[]): Promise<RowOutput[]> => {
        const cross = await readPrompts(prompts)
        check()
        const own = new KVCache(description, prompts.length)
        const all = prompts.map((_, row) => row)
        const starts = prompts.map(() => [decoder_start_token_id])
        const logits = await runDecoder(own, cross, all, starts)
        return all.map((row) => ({
          state: { own: { cache: own, row }, prompt: { cache: cross, row } } satisfies State,
          logits: logits[row]!,
        }))
      }
      return await inRuns(rows, perRun, read, check)
    },
    async step(states: readonly RowState[], tokenIds) {
      const named = states as readonly State[]
      const picked = KVCache.pick(named.map((state) => state.own))
      const prompts: CachedRow[] = []
      const promptOf = named.map(({ prompt: { cache, row } }) => {
        const known = prompts.findIndex((one) => one.cache === cache && one.row === row)
        return known >= 0 ? known : prompts.push({ cache, row }) - 1
      })
      const pickedPrompts = KVCache.pick(prompts)
      // In the order of the picked rows, which may be another than that of the states.
      const ids: number[][] = []
      const promptOfRow: number[] = []
      picked.forEach(({ row }, i) => {
        ids[row] = [tokenIds[i]!]
        promptOfRow[row] = pickedPrompts[promptOf[i]!]!.row
      })
      const logits = await runDecoder(picked[0]!.cache, pickedPrompts[0]!.cache, promptOfRow, ids)
      return picked.map((own, i) => ({
        state: { own, prompt: pickedPrompts[promptOf[i]!]! } satisfies State,
        logits: logits[own.row]!,
      }))
    },
    async allLogits(row, decoderIds = [decoder_start_token_id]) {
      const own = new KVCache(description, 1)
      return await runDecoder(own, await readPrompts([row]), [0], [decoderIds])
    },
    encode,
    textFeatures: (ids) => encode({ prefix: Tensor.float32(new Float32Array(0), [1, 0, D]), ids }),
  }
}

/** Which rows of the run belong to each prompt. `masks` are of the prompts' positions in the encoder. */
function groupFeeds(
  promptOf: readonly number[],
  masks: readonly (readonly number[])[],
): Record<string, Tensor> {
  const rowsOf = masks.map((_, prompt) => [...promptOf.keys()].filter((row) => promptOf[row] === prompt))
  const most = Math.max(...rowsOf.map(({ length }) => length))
  const rows = rowsOf.flatMap((own) => Array.from({ length: most }, (_, w) => 1 + (own[w] ?? 0)))
  const places = promptOf.map((prompt, row) => 1 + prompt * most + rowsOf[prompt]!.indexOf(row))
  return {
    [CROSS.mask]: Tensor.int64(masks.flat(), [masks.length, masks[0]!.length]),
    [CROSS.rows]: Tensor.int64(rows, [masks.length, most]),
    [CROSS.places]: Tensor.int64(places, [promptOf.length]),
  }
}

// text <-> ids, by the checkpoint's tokenizer files. Equal to transformers 5.18.
//
// @huggingface/tokenizers encodes text between added tokens. Added tokens are split off before (added.ts), because the
// library ignores `single_word` and matches special tokens in typed text. Where it differs from the tokenizers library,
// this folder has its own: decode.ts, precompiled.ts.

import { Tokenizer as Library } from '@huggingface/tokenizers'
import { z } from 'zod'
import { readJson, readText, reasonOf } from '../checkpoint/files.ts'
import { ArtifactError } from '../errors.ts'
import {
  type AddedToken,
  addedTokens,
  id,
  isGpt2,
  type Settings,
  settingsSchema,
  splitter,
  textOfName,
  writtenWithId,
} from './added.ts'
import { byteFallback, byteLevel, metaspace, type TextOfTokens, wordPiece } from './decode.ts'
import { isLlama, llamaParts, markSpaces } from './llama.ts'
import { precompiledNormalizer } from './precompiled.ts'

/** Copied from a checkpoint into an artifact. */
export const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.json',
  'merges.txt',
  'vocab.txt',
  'added_tokens.json',
]

export interface Tokenizer {
  /** The ids of a prompt, with the tokens that begin and end each text. Special tokens in the text are plain text. */
  encode(text: string): number[]
  /** As `encode`, but special tokens in the text get their ids. Not for text that a user typed. */
  encodeTrusted(text: string): number[]
  /** The text of generated ids, without special tokens. */
  decode(ids: readonly number[]): string
  /** The beginning of that text which no further id changes. */
  decodeSettled(ids: readonly number[]): string
  /** Whether a token has this id. Vocabularies are padded with ids that none has. */
  isToken(id: number): boolean
  /** One more than the largest id that `encode` returns. */
  vocabularySize: number
}

const byteLevelSchema = z.looseObject({ type: z.literal('ByteLevel') })
const metaspaceSchema = z.looseObject({ type: z.literal('Metaspace'), replacement: z.string().default('▁') })
/** LLaMA's: Replace, ByteFallback, Fuse, and Strip if a text begins with a space that stands for nothing. */
const byteFallbackSchema = z.looseObject({
  type: z.literal('Sequence'),
  decoders: z
    .array(
      z.looseObject({
        type: z.enum(['Replace', 'ByteFallback', 'Fuse', 'Strip']),
        start: z.int().optional(),
      }),
    )
    .refine(
      (steps) => steps.some(({ type }) => type === 'ByteFallback'),
      'Expected a ByteFallback among them',
    ),
})
const wordPieceSchema = z.looseObject({ type: z.literal('WordPiece'), prefix: z.string().default('##') })
const precompiledSchema = z.looseObject({ type: z.literal('Precompiled'), precompiled_charsmap: z.string() })
const sequenceSchema = z.looseObject({ type: z.literal('Sequence'), normalizers: z.array(z.unknown()) })
/** The parts of tokenizer.json that this file reads. The library checks the rest. */
const definitionSchema = z.looseObject({
  model: z.discriminatedUnion('type', [
    z.looseObject({ type: z.literal('BPE'), vocab: z.record(z.string(), id) }),
    z.looseObject({
      type: z.literal('Unigram'),
      vocab: z.array(z.tuple([z.string(), z.number()])).min(1),
      unk_id: id,
    }),
    z.looseObject({ type: z.literal('WordPiece'), vocab: z.record(z.string(), id), unk_token: z.string() }),
  ]),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  decoder: z.discriminatedUnion('type', [
    byteLevelSchema,
    metaspaceSchema,
    wordPieceSchema,
    byteFallbackSchema,
  ]),
  added_tokens: z.array(writtenWithId),
})
type Definition = z.infer<typeof definitionSchema>

/**
 * `prefix` begins the names of its files, where the folder has more than one tokenizer.
 * @throws ArtifactError `no_tokenizer`, `bad_tokenizer` or `unreadable_file`
 */
export async function openTokenizer(folder: string, prefix = ''): Promise<Tokenizer> {
  const config = await readJson(folder, `${prefix}tokenizer_config.json`)
  const file = await readJson(folder, `${prefix}tokenizer.json`)
  const map = await readJson(folder, `${prefix}special_tokens_map.json`)
  const legacy = await readJson(folder, `${prefix}added_tokens.json`)
  try {
    const own = settingsSchema.parse(config ?? {})
    own.extra_special_tokens ??= own.additional_special_tokens
    // special_tokens_map.json counts only if added_tokens_decoder is absent.
    const settings = own.added_tokens_decoder ? own : { ...own, ...settingsSchema.parse(map ?? {}) }
    const definition = definitionSchema.parse(
      file === undefined ? await fromVocabulary(folder, prefix, settings) : file,
    )
    if (isLlama(settings)) Object.assign(definition, llamaParts(settings, definition.model))
    if (definition.model.type === 'WordPiece') definition.normalizer = bertNormalizer(settings)
    // GPT2Tokenizer takes add_prefix_space from tokenizer_config.json. Unlike transformers, which drops the normalizer of
    // some folders and keeps that of Salesforce/blip2-opt-*, Glimpse always applies the normalizer of tokenizer.json.
    const preTokenizer = byteLevelSchema.safeParse(definition.pre_tokenizer).data
    if (preTokenizer && isGpt2(settings)) {
      definition.pre_tokenizer = { ...preTokenizer, add_prefix_space: settings.add_prefix_space === true }
    }
    const { vocab } = definition.model
    const vocabulary = new Map(
      Array.isArray(vocab) ? vocab.map(([piece], i) => [piece, i]) : Object.entries(vocab),
    )
    const added = addedTokens(settings, vocabulary, definition.added_tokens, legacy)
    return fromDefinition(definition, settings, vocabulary, added)
  } catch (cause) {
    if (cause instanceof ArtifactError) throw cause
    throw new ArtifactError(
      'bad_tokenizer',
      `The tokenizer files in ${folder} can't be used: ${reasonOf(cause)}. Expected the tokenizer of an OPT, T5, LLaMA or BERT checkpoint: BPE, Unigram or WordPiece. Download the checkpoint again.`,
      // The message of a ZodError is JSON; reasonOf makes a sentence of it.
      { cause: cause instanceof z.ZodError ? new Error(reasonOf(cause)) : cause },
    )
  }
}

function fromDefinition(
  definition: Definition,
  settings: Settings,
  vocabulary: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
): Tokenizer {
  const special = new Set(added.filter((token) => token.special).map((token) => token.id))
  const library = new Library({ ...definition, added_tokens: [], model: libraryModel(definition, added) }, {})
  const { before, after } = affixes(library, new Map([...vocabulary, ...added.map(idByContent)]))
  // Added tokens are matched before or after normalization, so the library must not normalize by itself.
  const normalizer = normalizerOf(library.normalizer, definition.normalizer)
  library.normalizer = null
  const isUnigram = definition.model.type === 'Unigram'
  // For the tokenizers library this character is white space, for JavaScript it is not.
  const normalize = (text: string) => normalizer(isUnigram ? text.replaceAll('\u0085', ' ') : text)

  const textOf = ({ content, normalized }: AddedToken) => (normalized ? normalize(content) : content)
  const textOfId = new Map([...vocabulary].map(([content, one]) => [one, content]))
  for (const token of added) textOfId.set(token.id, textOf(token))
  const [raw, normalized] = [added.filter((one) => !one.normalized), added.filter((one) => one.normalized)]
  const [splitRaw, splitNormalized] = [splitter(raw, textOf), splitter(normalized, textOf)]
  const marked = isLlama(settings) ? markSpaces(settings) : (text: string) => text
  const idsOf = (text: string, isText: (token: AddedToken) => boolean): number[] =>
    splitRaw(text, isText)
      .flatMap((piece) => (typeof piece === 'string' ? splitNormalized(normalize(piece), isText) : [piece]))
      .flatMap((piece, i) =>
        typeof piece === 'string'
          ? library.encode(marked(piece, i === 0), { add_special_tokens: false }).ids
          : [piece.id],
      )
      .filter((one: number | undefined) => one !== undefined) // an unknown character has no id in BPE
  const unknownId = unknownIdOf(definition, vocabulary)
  const isPlain = (one: number) => !special.has(one)
  const encoded = [...vocabulary.values(), ...before, ...after, ...added.map(({ id }) => id).filter(isPlain)]
  const decoder = decoderOf(definition, settings)
  const tokensOf = (ids: readonly number[]) => ids.filter(isPlain).flatMap((one) => textOfId.get(one) ?? [])
  return {
    // Merges of a checkpoint could make a special token of plain text; those ids are dropped.
    encode: (text) => [
      ...before,
      ...idsOf(text, (token) => token.special).filter((one) => isPlain(one) || one === unknownId),
      ...after,
    ],
    encodeTrusted: (text) => [...before, ...idsOf(text, () => false), ...after],
    decode: (ids) => decoder.whole(tokensOf(ids)),
    decodeSettled: (ids) => decoder.settled(tokensOf(ids)),
    isToken: (one) => textOfId.has(one),
    vocabularySize: 1 + encoded.reduce((a, b) => Math.max(a, b), 0),
  }
}

const idByContent = ({ content, id }: AddedToken) => [content, id] as const

/** undefined for BPE, which drops characters that it does not know. */
function unknownIdOf({ model }: Definition, vocabulary: ReadonlyMap<string, number>): number | undefined {
  if (model.type === 'BPE') return undefined
  return model.type === 'Unigram' ? model.unk_id : vocabulary.get(model.unk_token)
}

/** Half of a surrogate pair, which no text has (engine/tasks/generate.ts). */
const IN_NO_TEXT = '\ud800'

/**
 * The model for the library. Special tokens are pieces of a Unigram vocabulary, and none may be made of typed text. The
 * vocabularies of BPE and WordPiece need no such care: merges make the tokens of BPE, and BERT splits words at brackets.
 */
function libraryModel({ model }: Definition, added: readonly AddedToken[]): object {
  if (model.type !== 'Unigram') return model
  const special = new Set(added.filter((token) => token.special).map(({ content }) => content))
  const vocab = model.vocab.map(([piece, score]) => [special.has(piece) ? IN_NO_TEXT + piece : piece, score])
  return { ...model, vocab }
}

/** The ids that the post-processor puts before and after a text. An empty text consists of them. */
function affixes(library: Library, idOf: ReadonlyMap<string, number>): { before: number[]; after: number[] } {
  const { tokens } = library.post_processor?.post_process([IN_NO_TEXT], null, true) ?? {
    tokens: [IN_NO_TEXT],
  }
  const at = tokens.indexOf(IN_NO_TEXT)
  const idsOf = (own: readonly string[]) => z.array(id).parse(own.map((token) => idOf.get(token)))
  return { before: idsOf(tokens.slice(0, at)), after: idsOf(tokens.slice(at + 1)) }
}

function normalizerOf(normalizer: Library['normalizer'], definition: unknown): (text: string) => string {
  if (normalizer === null) return (text) => text
  const table = precompiledSchema.safeParse(definition).data
  if (table) return precompiledNormalizer(table.precompiled_charsmap)
  const parts = sequenceSchema.safeParse(definition).data?.normalizers
  if (!parts || !('normalizers' in normalizer)) return (text) => normalizer.normalize(text)
  const steps = (normalizer.normalizers as Library['normalizer'][]).map((step, i) =>
    normalizerOf(step, parts[i]),
  )
  return (text) => steps.reduce((normalized, step) => step(normalized), text)
}

function decoderOf({ decoder, model }: Definition, settings: Settings): TextOfTokens {
  if (decoder.type === 'ByteLevel') return byteLevel
  if (decoder.type === 'Sequence') {
    const { start: stripped = 0 } = decoder.decoders.find(({ type }) => type === 'Strip') ?? {}
    return byteFallback({ replacement: '▁', stripped })
  }
  if (decoder.type === 'WordPiece') return wordPiece(decoder.prefix)
  // transformers cleans up no text of a BPE tokenizer.
  const cleansUp = settings['clean_up_tokenization_spaces'] === true && model.type !== 'BPE'
  return metaspace({ replacement: decoder.replacement, cleansUp })
}

/** BertTokenizer of transformers 5 takes it from tokenizer_config.json and ignores that of tokenizer.json. */
function bertNormalizer({ do_lower_case, tokenize_chinese_chars, strip_accents }: Settings): object {
  return {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: tokenize_chinese_chars ?? true,
    strip_accents: strip_accents ?? null,
    lowercase: do_lower_case ?? true,
  }
}

/**
 * vocab.txt, or vocab.json and merges.txt -> the content of tokenizer.json. The second is byte-level BPE, with the bos token
 * before each text if tokenizer_config.json has `add_bos_token` (GPT2Converter in transformers' convert_slow_tokenizer.py).
 */
async function fromVocabulary(folder: string, prefix: string, settings: Settings): Promise<unknown> {
  const words = await readText(folder, `${prefix}vocab.txt`)
  if (words !== undefined) return fromWords(words, settings)
  const vocabFile = await readJson(folder, `${prefix}vocab.json`)
  const mergesFile = await readText(folder, `${prefix}merges.txt`)
  if (vocabFile === undefined || mergesFile === undefined) {
    throw new ArtifactError(
      'no_tokenizer',
      `${folder} has neither tokenizer.json nor vocab.txt, nor vocab.json with merges.txt. Download the checkpoint again.`,
    )
  }
  const bos = textOfName(settings['bos_token']) ?? '</s>'
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: true }
  return {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor:
      settings.add_bos_token === true
        ? {
            type: 'TemplateProcessing',
            single: [{ SpecialToken: { id: bos, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
            pair: [],
          }
        : byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      vocab: vocabFile,
      merges: mergesFile.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version')),
      unk_token: null,
    },
  }
}

/** vocab.txt, a token a line -> BERT's WordPiece, with [CLS] before each text and [SEP] after it. */
function fromWords(words: string, settings: Settings): unknown {
  const lines = words.split(/\r?\n/)
  if (lines.at(-1) === '') lines.pop()
  const token = (name: string, otherwise: string) => ({
    SpecialToken: { id: textOfName(settings[name]) ?? otherwise, type_id: 0 },
  })
  const single = [
    token('cls_token', '[CLS]'),
    { Sequence: { id: 'A', type_id: 0 } },
    token('sep_token', '[SEP]'),
  ]
  return {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: { type: 'TemplateProcessing', single, pair: [] },
    decoder: { type: 'WordPiece' },
    model: {
      type: 'WordPiece',
      vocab: Object.fromEntries(lines.map((line, i) => [line, i])),
      unk_token: textOfName(settings['unk_token']) ?? '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
    },
  }
}

// text <-> ids, by the checkpoint's tokenizer files. Equal to transformers 5.18.
//
// @huggingface/tokenizers encodes text between added tokens. Added tokens are split off before (added.ts), because the
// library ignores `single_word` and matches special tokens in typed text. Ids are decoded by GPT-2's table of bytes,
// because the library drops characters that the table lacks.

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

/** Copied from a checkpoint into an artifact. */
export const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.json',
  'merges.txt',
  'added_tokens.json',
]

export interface Tokenizer {
  /** The ids of a prompt, after the token that begins each text. Special tokens in the text are plain text. */
  encode(text: string): number[]
  /** As `encode`, but special tokens in the text get their ids. Not for text that a user typed. */
  encodeTrusted(text: string): number[]
  /** The text of generated ids, without special tokens. */
  decode(ids: readonly number[]): string
  /** Whether a token has this id. Vocabularies are padded with ids that none has. */
  isToken(id: number): boolean
  /** One more than the largest id that `encode` returns. */
  vocabularySize: number
}

const byteLevelSchema = z.looseObject({ type: z.literal('ByteLevel') })
/** The parts of tokenizer.json that this file reads. The library checks the rest. */
const definitionSchema = z.looseObject({
  model: z.looseObject({ type: z.literal('BPE'), vocab: z.record(z.string(), id) }),
  pre_tokenizer: z.unknown(),
  decoder: byteLevelSchema,
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
      file === undefined ? await fromVocabulary(folder, settings) : file,
    )
    // GPT2Tokenizer takes add_prefix_space from tokenizer_config.json. Unlike transformers, which drops the normalizer of
    // some folders and keeps that of Salesforce/blip2-opt-*, Glimpse always applies the normalizer of tokenizer.json.
    const preTokenizer = byteLevelSchema.safeParse(definition.pre_tokenizer).data
    if (preTokenizer && isGpt2(settings)) {
      definition.pre_tokenizer = { ...preTokenizer, add_prefix_space: settings.add_prefix_space === true }
    }
    const vocabulary = new Map(Object.entries(definition.model.vocab))
    const added = addedTokens(settings, vocabulary, definition.added_tokens, legacy)
    return fromDefinition(definition, vocabulary, added)
  } catch (cause) {
    if (cause instanceof ArtifactError) throw cause
    throw new ArtifactError(
      'bad_tokenizer',
      `The tokenizer files in ${folder} can't be used: ${reasonOf(cause)}. Expected the byte-level BPE tokenizer of an OPT checkpoint. Download the checkpoint again.`,
      // The message of a ZodError is JSON; reasonOf makes a sentence of it.
      { cause: cause instanceof z.ZodError ? new Error(reasonOf(cause)) : cause },
    )
  }
}

function fromDefinition(
  definition: Definition,
  vocabulary: ReadonlyMap<string, number>,
  added: readonly AddedToken[],
): Tokenizer {
  const idOf = new Map([...vocabulary, ...added.map(({ content, id }) => [content, id] as const)])
  // The token that begins each text may be an added one, so the library's vocabulary includes the added tokens.
  const vocab = Object.fromEntries(idOf)
  const library = new Library({ ...definition, added_tokens: [], model: { ...definition.model, vocab } }, {})
  // The post-processor adds the token that begins a text. An empty text consists of that token.
  const prefix = z.array(id).parse(library.encode('').ids)
  // Added tokens are matched before or after normalization, so the library must not normalize by itself.
  const { normalizer } = library
  library.normalizer = null
  const normalize = (text: string): string => normalizer?.normalize(text) ?? text

  const textOf = ({ content, normalized }: AddedToken) => (normalized ? normalize(content) : content)
  const textOfId = new Map([...vocabulary].map(([content, one]) => [one, content]))
  for (const token of added) textOfId.set(token.id, textOf(token))
  const special = new Set(added.filter((token) => token.special).map((token) => token.id))
  const [raw, normalized] = [added.filter((one) => !one.normalized), added.filter((one) => one.normalized)]
  const [splitRaw, splitNormalized] = [splitter(raw, textOf), splitter(normalized, textOf)]
  const idsOf = (text: string, isText: (token: AddedToken) => boolean): number[] =>
    splitRaw(text, isText)
      .flatMap((piece) => (typeof piece === 'string' ? splitNormalized(normalize(piece), isText) : [piece]))
      .flatMap((piece) =>
        typeof piece === 'string' ? library.encode(piece, { add_special_tokens: false }).ids : [piece.id],
      )
      .filter((one: number | undefined) => one !== undefined) // an unknown character has no id
  const isPlain = (one: number) => !special.has(one)
  const encoded = [...vocabulary.values(), ...prefix, ...added.map((token) => token.id).filter(isPlain)]
  return {
    // Merges of a checkpoint could make a special token of plain text; those ids are dropped.
    encode: (text) => [...prefix, ...idsOf(text, (token) => token.special).filter(isPlain)],
    encodeTrusted: (text) => [...prefix, ...idsOf(text, () => false)],
    decode: (ids) =>
      UTF8.decode(Buffer.concat(ids.filter(isPlain).map((one) => bytesOf(textOfId.get(one) ?? '')))),
    isToken: (one) => textOfId.has(one),
    vocabularySize: 1 + encoded.reduce((a, b) => Math.max(a, b), 0),
  }
}

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true })
/** Byte-level BPE writes every byte as a printable character (bytes_to_unicode of GPT-2's encoder.py). */
const BYTE_OF = new Map<string, number>()
for (let byte = 0, other = 256; byte < 256; byte++) {
  const isPrintable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  BYTE_OF.set(String.fromCharCode(isPrintable ? byte : other++), byte)
}

/** A token with another character is plain text (decoders/byte_level.rs of the tokenizers library). */
function bytesOf(token: string): Uint8Array {
  const bytes = [...token].map((character) => BYTE_OF.get(character))
  return bytes.includes(undefined) ? Buffer.from(token) : Uint8Array.from(bytes as number[])
}

/**
 * vocab.json and merges.txt -> the content of tokenizer.json: byte-level BPE, with the bos token before each text if
 * tokenizer_config.json has `add_bos_token` (GPT2Converter in transformers' convert_slow_tokenizer.py).
 */
async function fromVocabulary(folder: string, settings: Settings): Promise<unknown> {
  const vocabFile = await readJson(folder, 'vocab.json')
  const mergesFile = await readText(folder, 'merges.txt')
  if (vocabFile === undefined || mergesFile === undefined) {
    throw new ArtifactError(
      'no_tokenizer',
      `${folder} has neither tokenizer.json nor vocab.json and merges.txt. Download the checkpoint again.`,
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

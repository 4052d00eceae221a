// text <-> ids, as the checkpoint's tokenizer files say. The home of @huggingface/tokenizers.
//
// The library does the vocabulary's part. Added tokens are cut out before (added.ts), because it knows no `single_word`
// and matches special ones; ids are read by GPT-2's table of bytes, because it loses what that table has not.

import { Tokenizer as Library } from '@huggingface/tokenizers'
import { z } from 'zod'
import { readJson, readText, reasonOf } from '../checkpoint/files.ts'
import { ArtifactError } from '../errors.ts'
import {
  type AddedToken,
  addedTokens,
  cutter,
  id,
  isGpt2,
  type Settings,
  settingsSchema,
  textOfName,
  writtenWithId,
} from './added.ts'

/** What is copied from a checkpoint into an artifact. */
export const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.json',
  'merges.txt',
  'added_tokens.json',
]

export interface Tokenizer {
  /** A prompt's ids, with what the tokenizer puts before each text. Typed special tokens stay plain text. */
  encode(text: string): number[]
  /** As `encode`, but special tokens in the text are what they say: only for texts that no user typed. */
  encodeTrusted(text: string): number[]
  /** The text of generated ids, special tokens left out. */
  decode(ids: readonly number[]): string
  /** Whether any token has this id: vocabularies are padded with ids that none has. */
  isToken(id: number): boolean
  /** One more than the largest id that `encode` can give. */
  vocabularySize: number
}

const byteLevelSchema = z.looseObject({ type: z.literal('ByteLevel') })
/** What is relied on here; the rest is the library's to judge. */
const definitionSchema = z.looseObject({
  model: z.looseObject({ type: z.literal('BPE'), vocab: z.record(z.string(), id) }),
  pre_tokenizer: z.unknown(),
  decoder: byteLevelSchema,
  added_tokens: z.array(writtenWithId),
})
type Definition = z.infer<typeof definitionSchema>

/** Throws ArtifactError `no_tokenizer`, `bad_tokenizer` or `unreadable_file`. */
export async function openTokenizer(folder: string): Promise<Tokenizer> {
  const config = await readJson(folder, 'tokenizer_config.json')
  const file = await readJson(folder, 'tokenizer.json')
  const map = await readJson(folder, 'special_tokens_map.json')
  const legacy = await readJson(folder, 'added_tokens.json')
  try {
    const own = settingsSchema.parse(config ?? {})
    own.extra_special_tokens ??= own.additional_special_tokens
    // The older files count only where the newer list is missing.
    const settings = own.added_tokens_decoder ? own : { ...own, ...settingsSchema.parse(map ?? {}) }
    const definition = definitionSchema.parse(
      file === undefined ? await fromVocabulary(folder, settings) : file,
    )
    // The class GPT2Tokenizer has its own setting for the space in front. Of a folder it also drops tokenizer.json's
    // normalizer, which it keeps for Salesforce/blip2-opt-*; here every file's normalizer counts.
    const before = byteLevelSchema.safeParse(definition.pre_tokenizer).data
    if (before && isGpt2(settings)) {
      definition.pre_tokenizer = { ...before, add_prefix_space: settings.add_prefix_space === true }
    }
    const vocabulary = new Map(Object.entries(definition.model.vocab))
    const added = addedTokens(settings, vocabulary, definition.added_tokens, legacy)
    return fromDefinition(definition, vocabulary, added)
  } catch (cause) {
    if (cause instanceof ArtifactError) throw cause
    throw new ArtifactError(
      'bad_tokenizer',
      `Expected the byte-level BPE tokenizer of an OPT checkpoint in ${folder} but its files can't be used: ${reasonOf(cause)}. Fetch the checkpoint again.`,
      // A ZodError's own message is lines of JSON, which its reason has in words.
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
  // The mark in front of each text may be an added token, so the library knows them as pieces that no merge makes.
  const vocab = Object.fromEntries(idOf)
  const library = new Library({ ...definition, added_tokens: [], model: { ...definition.model, vocab } }, {})
  // transformers marks the texts' beginning by the post-processor; of an empty text that mark is all there is.
  const before = z.array(id).parse(library.encode('').ids)
  // Tokens are looked for before and behind the normalizer, which is therefore not the library's to call.
  const { normalizer } = library
  library.normalizer = null
  const normalize = (text: string): string => normalizer?.normalize(text) ?? text

  const textOf = ({ content, normalized }: AddedToken) => (normalized ? normalize(content) : content)
  const textOfId = new Map([...vocabulary].map(([content, one]) => [one, content]))
  for (const token of added) textOfId.set(token.id, textOf(token))
  const special = new Set(added.filter((token) => token.special).map((token) => token.id))
  const cutRaw = cutter(
    added.filter(({ normalized }) => !normalized),
    textOf,
  )
  const cutNormalized = cutter(
    added.filter(({ normalized }) => normalized),
    textOf,
  )
  const idsOf = (text: string, isText: (token: AddedToken) => boolean): (number | undefined)[] =>
    cutRaw(text, isText)
      .flatMap((piece) => (typeof piece === 'string' ? cutNormalized(normalize(piece), isText) : [piece]))
      .flatMap((piece) =>
        typeof piece === 'string' ? library.encode(piece, { add_special_tokens: false }).ids : [piece.id],
      )
  // Whatever merges a checkpoint brings, no typed text becomes a special id; of an unknown character there is no id.
  const isKnown = (one: number | undefined): one is number => one !== undefined
  const isPlain = (one: number | undefined): one is number => one !== undefined && !special.has(one)
  return {
    encode: (text) => [...before, ...idsOf(text, (token) => token.special).filter(isPlain)],
    encodeTrusted: (text) => [...before, ...idsOf(text, () => false).filter(isKnown)],
    decode: (ids) =>
      UTF8.decode(
        Buffer.concat(ids.filter((one) => !special.has(one)).map((one) => bytesOf(textOfId.get(one) ?? ''))),
      ),
    isToken: (one) => textOfId.has(one),
    vocabularySize:
      1 +
      [
        ...vocabulary.values(),
        ...before,
        ...added.filter((token) => !token.special).map((token) => token.id),
      ].reduce((a, b) => Math.max(a, b), 0),
  }
}

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true })
/** Byte-level BPE writes every byte as a printable character (bytes_to_unicode of GPT-2's encoder.py). */
const BYTE_OF = new Map<string, number>()
for (let byte = 0, other = 256; byte < 256; byte++) {
  const isPrintable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  BYTE_OF.set(String.fromCharCode(isPrintable ? byte : other++), byte)
}

/** A token with any other character stands for itself (decoders/byte_level.rs of the tokenizers library). */
function bytesOf(token: string): Uint8Array {
  const bytes = [...token].map((character) => BYTE_OF.get(character))
  return bytes.includes(undefined) ? Buffer.from(token) : Uint8Array.from(bytes as number[])
}

/**
 * The older pair of files -> what tokenizer.json would say: byte-level BPE, and the beginning-of-text token in front
 * where tokenizer_config.json has `add_bos_token` (GPT2Converter in transformers' convert_slow_tokenizer.py).
 */
async function fromVocabulary(folder: string, settings: Settings): Promise<unknown> {
  const vocabFile = await readJson(folder, 'vocab.json')
  const mergesFile = await readText(folder, 'merges.txt')
  if (vocabFile === undefined || mergesFile === undefined) {
    throw new ArtifactError(
      'no_tokenizer',
      `Expected tokenizer.json, or vocab.json and merges.txt, in ${folder} but they are missing. Fetch the checkpoint again.`,
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

// text <-> ids, as the checkpoint's tokenizer files say. The home of @huggingface/tokenizers.

import { Tokenizer as Library } from '@huggingface/tokenizers'
import { z } from 'zod'
import { readJson, readText, reasonOf } from '../checkpoint/files.ts'
import { ArtifactError } from '../errors.ts'

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
  /** A prompt's ids, with what the tokenizer puts before each text. Typed added tokens stay plain text. */
  encode(text: string): number[]
  /** As `encode`, but added tokens in the text are what they say: only for texts that no user typed. */
  encodeTrusted(text: string): number[]
  /** The text of generated ids, special tokens left out. */
  decode(ids: readonly number[]): string
  /** Whether any token has this id: vocabularies are padded with ids that none has. */
  isToken(id: number): boolean
  /** One more than the largest id that `encode` can give. */
  vocabularySize: number
}

/** Far above any vocabulary; the library makes a list as long as the largest id. */
const MAX_ID = 10_000_000

const id = z.number().int().nonnegative().max(MAX_ID)
const json = z.record(z.string(), z.unknown())
const addedToken = z.looseObject({ id, content: z.string().min(1) })
/** What is relied on here; the rest is the library's to judge. */
const definitionSchema = z.looseObject({
  model: z.looseObject({ type: z.literal('BPE'), vocab: z.record(z.string(), id) }),
  added_tokens: z.array(addedToken),
})
type Definition = z.infer<typeof definitionSchema>

/** Throws ArtifactError `no_tokenizer`, `bad_tokenizer` or `unreadable_file`. */
export async function openTokenizer(folder: string): Promise<Tokenizer> {
  const config = await readJson(folder, 'tokenizer_config.json')
  const file = await readJson(folder, 'tokenizer.json')
  try {
    const settings = json.parse(config ?? {})
    const definition = file === undefined ? await fromVocabulary(folder, settings) : file
    return fromDefinition(definitionSchema.parse(definition), settings)
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

function fromDefinition(definition: Definition, config: z.infer<typeof json>): Tokenizer {
  // Without its added tokens a tokenizer takes a typed "</s>" for four characters, not for the end of the text.
  const literal = new Library({ ...definition, added_tokens: [] }, config)
  let whole: Library | undefined
  const added = new Set(definition.added_tokens.map((token) => token.id))
  const isToken = (one: number) => added.has(one) || literal.id_to_token(one) !== undefined
  // transformers marks the texts' beginning by the post-processor; of an empty text that mark is all there is.
  const before = z.array(id).parse(literal.encode('').ids)
  const special = new Set(
    definition.added_tokens.filter((token) => token['special'] === true).map((token) => token.id),
  )
  // Whatever merges a checkpoint brings, no typed text becomes a special id; of an unknown character there is no id.
  const isPlain = (one: number | undefined) => one !== undefined && !special.has(one)
  return {
    encode: (text) =>
      text === ''
        ? [...before]
        : [...before, ...literal.encode(text, { add_special_tokens: false }).ids.filter(isPlain)],
    encodeTrusted: (text) => {
      whole ??= new Library(definition, config)
      return text === '' ? [...before] : [...before, ...whole.encode(text, { add_special_tokens: false }).ids]
    },
    decode: (ids) => {
      const said = ids.filter((one) => !special.has(one) && literal.id_to_token(one) !== undefined)
      // The library refuses to decode nothing.
      return said.length === 0
        ? ''
        : literal.decode(said, { skip_special_tokens: true, clean_up_tokenization_spaces: false })
    },
    isToken,
    vocabularySize:
      1 + [...Object.values(definition.model.vocab), ...before].reduce((a, b) => Math.max(a, b), 0),
  }
}

/**
 * The older pair of files -> what tokenizer.json would say: byte-level BPE, and the beginning-of-text token in front
 * where tokenizer_config.json has `add_bos_token` (GPT2Converter in transformers' convert_slow_tokenizer.py).
 */
async function fromVocabulary(folder: string, config: z.infer<typeof json>): Promise<unknown> {
  const vocabFile = await readJson(folder, 'vocab.json')
  const mergesFile = await readText(folder, 'merges.txt')
  if (vocabFile === undefined || mergesFile === undefined) {
    throw new ArtifactError(
      'no_tokenizer',
      `Expected tokenizer.json, or vocab.json and merges.txt, in ${folder} but they are missing. Fetch the checkpoint again.`,
    )
  }
  const vocab = z.record(z.string(), id).parse(vocabFile)
  const merges = mergesFile.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version'))
  const contentOf = (token: unknown): string | undefined =>
    typeof token === 'string' ? token : z.object({ content: z.string() }).safeParse(token).data?.content
  const named = ['bos_token', 'eos_token', 'unk_token', 'pad_token'].map((name) => contentOf(config[name]))
  const added = z.record(z.string(), id).parse((await readJson(folder, 'added_tokens.json')) ?? {})
  const ids = new Map<string, number>()
  for (const content of named)
    if (content !== undefined && vocab[content] !== undefined) ids.set(content, vocab[content])
  for (const [content, one] of Object.entries(added)) ids.set(content, one)
  const bos = contentOf(config['bos_token']) ?? '</s>'
  const byteLevel = {
    type: 'ByteLevel',
    add_prefix_space: config['add_prefix_space'] === true,
    trim_offsets: false,
    use_regex: true,
  }
  return {
    version: '1.0',
    added_tokens: [...ids].map(([content, one]) =>
      addedToken.parse({
        id: one,
        content,
        special: true,
        normalized: false,
        lstrip: false,
        rstrip: false,
        single_word: false,
      }),
    ),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor:
      config['add_bos_token'] === true
        ? {
            type: 'TemplateProcessing',
            single: [{ SpecialToken: { id: bos, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
            pair: [],
            special_tokens: { [bos]: { id: bos, ids: [vocab[bos]], tokens: [bos] } },
          }
        : byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      vocab,
      merges,
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
    },
  }
}

// A number of tokens -> the files of a tokenizer whose every id below it is a token: names -> content, text or JSON. For
// random-checkpoint.mjs.

/** OPT's kind: the letters of bytes and pairs of them. */
export function byteLevelBpe(count) {
  const bytes = byteLetters()
  const vocab = { '<s>': 0, '<pad>': 1, '</s>': 2, '<unk>': 3 }
  for (const letter of bytes) vocab[letter] = Object.keys(vocab).length
  const merges = []
  let next = 4 + bytes.length
  for (let i = 0; next < count; i++, next++) {
    const [a, b] = [bytes[Math.floor(i / 256)], bytes[i % 256]]
    vocab[a + b] = next
    merges.push(`${a} ${b}`)
  }
  return {
    'vocab.json': vocab,
    'merges.txt': `#version: 0.2\n${merges.join('\n')}\n`,
    'tokenizer_config.json': {
      add_bos_token: true,
      add_prefix_space: false,
      bos_token: '</s>',
      eos_token: '</s>',
      pad_token: '<pad>',
      tokenizer_class: 'GPT2Tokenizer',
      unk_token: '</s>',
    },
  }
}

/** T5's kind: the same letters and pairs as pieces. `<image>` is the token `count`. */
export function unigram(count) {
  const letters = byteLetters()
  const pieces = ['\u2581', ...letters, ...letters.flatMap((a) => letters.map((b) => a + b))]
  const special = ['<pad>', '</s>', '<unk>']
  const vocab = [...special, ...pieces].slice(0, count).map((piece, i) => [piece, i < 3 ? 0 : -5 - i / 1e4])
  const metaspace = { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true }
  const definition = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...special.map(written), written('<image>', count)],
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] },
    post_processor: templateOf([], ['</s>'], { '</s>': 1 }),
    decoder: metaspace,
    model: { type: 'Unigram', unk_id: 2, vocab },
  }
  const settings = {
    eos_token: '</s>',
    extra_ids: 0,
    pad_token: '<pad>',
    tokenizer_class: 'T5Tokenizer',
    unk_token: '<unk>',
  }
  return { 'tokenizer.json': definition, 'tokenizer_config.json': settings }
}

/** LLaMA's kind: bytes, letters and pairs of them. `<image>` is the token `count`. */
export function llamaBpe(count) {
  const special = ['<unk>', '<s>', '</s>']
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  )
  const letters = ['\u2581', ...byteLetters()]
  const vocab = Object.fromEntries([...special, ...bytes, ...letters].map((token, id) => [token, id]))
  const merges = []
  let next = special.length + bytes.length + letters.length
  for (let i = 0; next < count - 1; i++, next++) {
    const [a, b] = [letters[Math.floor(i / letters.length)], letters[i % letters.length]]
    vocab[a + b] = next
    merges.push(`${a} ${b}`)
  }
  const settings = { bos_token: '</s>', eos_token: '</s>', pad_token: '[PAD]', unk_token: '</s>' }
  return {
    'tokenizer.json': {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [...special.map(written), written('[PAD]', count - 1), written('<image>', count)],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: templateOf(['</s>'], [], { '</s>': 2 }),
      decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }] },
      model: { type: 'BPE', vocab, merges, unk_token: '<unk>', byte_fallback: true, fuse_unk: true },
    },
    'tokenizer_config.json': { ...settings, tokenizer_class: 'LlamaTokenizer' },
  }
}

/** BERT's kind, for the text that a Q-Former reads: letters, and pairs of them. */
export function wordPiece(count) {
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
  const letters = byteLetters().filter((letter) => letter === letter.toLowerCase())
  const pieces = letters.flatMap((a) => [a, `##${a}`, ...letters.map((b) => a + b)])
  const vocab = Object.fromEntries(
    [...special, ...pieces].slice(0, count - 1).map((token, id) => [token, id]),
  )
  return {
    'tokenizer.json': {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [...special.map(written), written('[DEC]', Object.keys(vocab).length)],
      normalizer: { type: 'BertNormalizer', lowercase: true },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      post_processor: templateOf(['[CLS]'], ['[SEP]'], { '[CLS]': 2, '[SEP]': 3 }),
      decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
      model: {
        type: 'WordPiece',
        vocab,
        unk_token: '[UNK]',
        continuing_subword_prefix: '##',
        max_input_chars_per_word: 100,
      },
    },
    'tokenizer_config.json': { bos_token: '[DEC]', do_lower_case: true, tokenizer_class: 'BertTokenizer' },
  }
}

function written(content, id) {
  const flags = { lstrip: false, normalized: false, rstrip: false, single_word: false }
  return { id, content, special: true, ...flags }
}

function templateOf(before, after, ids) {
  const token = (id) => ({ SpecialToken: { id, type_id: 0 } })
  const text = { Sequence: { id: 'A', type_id: 0 } }
  return {
    type: 'TemplateProcessing',
    single: [...before.map(token), text, ...after.map(token)],
    pair: [],
    special_tokens: Object.fromEntries(
      Object.entries(ids).map(([content, id]) => [content, { id: content, ids: [id], tokens: [content] }]),
    ),
  }
}

/** Returns the letters by which byte-level BPE writes the 256 bytes (GPT-2's bytes_to_unicode). */
function byteLetters() {
  const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173)
  let extra = 0
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : 256 + extra++))
}

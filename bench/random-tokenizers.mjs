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
  const written = (content, id) => ({
    ...{ id, content, special: true },
    ...{ lstrip: false, normalized: false, rstrip: false, single_word: false },
  })
  const definition = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [...special.map(written), written('<image>', count)],
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, metaspace] },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
      pair: [],
      special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
    },
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

/** Returns the letters by which byte-level BPE writes the 256 bytes (GPT-2's bytes_to_unicode). */
function byteLetters() {
  const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173)
  let extra = 0
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : 256 + extra++))
}

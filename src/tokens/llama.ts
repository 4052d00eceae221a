// tokenizer.json of a LlamaTokenizer -> the definition that transformers 5.18 makes of it. The class takes vocabulary, merges
// and post-processor from the file and makes the rest itself (models/llama/tokenization_llama.py). So a text that begins with
// a space gets one `▁` less than by the file's own normalizer.

import type { Settings } from './added.ts'

const SPACE = '▁'

export function isLlama({ tokenizer_class }: Settings): boolean {
  return /^LlamaTokenizer(Fast)?$/.test(tokenizer_class ?? '')
}

/** The parts of tokenizer.json that the class replaces. `model` is that of the file. */
export function llamaParts({ add_prefix_space }: Settings, model: object): object {
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 }
  return {
    model: { ...model, unk_token: null, byte_fallback: true, fuse_unk: true },
    // Spaces are marked by `markSpaces`, which needs to know where a text begins.
    normalizer: null,
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(add_prefix_space === false ? [] : [strip]),
      ],
    },
  }
}

/**
 * Returns a function that puts `▁` in the place of spaces and before a text: before its first piece, with `legacy` before
 * each piece between added tokens. A piece that begins with a space gets none besides (Metaspace of the tokenizers library).
 */
export function markSpaces({
  add_prefix_space,
  legacy,
}: Settings): (text: string, isFirst: boolean) => string {
  return (text, isFirst) => {
    const marked = text.replaceAll(' ', SPACE)
    const begins = add_prefix_space !== false && (isFirst || legacy === true)
    return begins && !marked.startsWith(SPACE) ? SPACE + marked : marked
  }
}

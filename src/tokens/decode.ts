// Tokens -> text, for each kind of decoder in a tokenizer.json. The library's own decoders lose characters.

export interface TextOfTokens {
  /** The text of generated tokens. */
  whole(tokens: readonly string[]): string
  /** The beginning of that text which no further token changes. */
  settled(tokens: readonly string[]): string
}

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true })
const STRICT_UTF8 = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })
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

/** A character at the end whose bytes are not complete is U+FFFD. */
export const byteLevel: TextOfTokens = {
  whole: (tokens) => UTF8.decode(Buffer.concat(tokens.map(bytesOf))),
  settled: (tokens) => byteLevel.whole(tokens).replace(/\ufffd+$/, ''),
}

/**
 * A token has `replacement` in the place of spaces; the one that begins a text is no space (decoders/metaspace.rs).
 * `cleansUp`: spaces before punctuation are removed, as tokenizer_config.json may ask for.
 */
export function metaspace({
  replacement,
  cleansUp,
}: {
  replacement: string
  cleansUp: boolean
}): TextOfTokens {
  const spaced = (tokens: readonly string[]) =>
    tokens.map((token, i) => token.replaceAll(replacement, i === 0 ? '' : ' ')).join('')
  if (!cleansUp) return { whole: spaced, settled: spaced }
  return {
    whole: (tokens) => cleanUp(spaced(tokens)),
    settled: (tokens) => cleanUp(spaced(tokens)).replace(UNSETTLED, ''),
  }
}

const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/

/**
 * LLaMA's: `replacement` stands for a space, and tokens such as `<0x0A>` are bytes; each byte of a run that is no UTF-8 is
 * U+FFFD (decoders/byte_fallback.rs). `stripped`: how many spaces that begin the text are removed.
 */
export function byteFallback({
  replacement,
  stripped,
}: {
  replacement: string
  stripped: number
}): TextOfTokens {
  const whole = (tokens: readonly string[]) => {
    const pieces: string[] = []
    let bytes: number[] = []
    const endRun = () => {
      pieces.push(textOfBytes(bytes))
      bytes = []
    }
    for (const token of tokens) {
      const byte = BYTE_TOKEN.exec(token)?.[1]
      if (byte !== undefined) bytes.push(Number.parseInt(byte, 16))
      else {
        endRun()
        pieces.push(token.replaceAll(replacement, ' '))
      }
    }
    endRun()
    return pieces.join('').replace(new RegExp(`^ {0,${stripped}}`), '')
  }
  return {
    whole,
    // A further byte may change all of the last run.
    settled: (tokens) => whole(tokens.slice(0, 1 + tokens.findLastIndex((token) => !BYTE_TOKEN.test(token)))),
  }
}

function textOfBytes(bytes: readonly number[]): string {
  try {
    return STRICT_UTF8.decode(Uint8Array.from(bytes))
  } catch {
    return '\ufffd'.repeat(bytes.length)
  }
}

/** A token that continues a word begins with `prefix`; others follow a space (decoders/wordpiece.rs, which cleans up). */
export function wordPiece(prefix: string): TextOfTokens {
  const spaced = (tokens: readonly string[]) =>
    tokens
      .map((token, i) =>
        i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`,
      )
      .join('')
  return {
    whole: (tokens) => cleanUp(spaced(tokens)),
    settled: (tokens) => cleanUp(spaced(tokens)).replace(UNSETTLED, ''),
  }
}

/** clean_up_tokenization of transformers' tokenization_utils_base.py, in its order. */
const CLEAN_UPS = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
] as const
/** The beginning of a pattern of CLEAN_UPS, which the next token may complete. */
const UNSETTLED = / ('[vr]?|n'?)?$/

function cleanUp(text: string): string {
  return CLEAN_UPS.reduce((cleaned, [from, to]) => cleaned.replaceAll(from, to), text)
}

// A multipart form becomes names and values: bytes for the picture, text for the rest. @fastify/busboy reads it; here are
// the bounds and the words of refusals.
//
//   Content-Type, chunks of the body -> [['image', bytes], ['question', 'What is it?'], ...]
//
// Lines end with CRLF (RFC 2046, section 4.1.1), because a picture may hold anything else. What is before the first
// boundary and after the last is passed over, and so is a part whose headers are not those of a field.

import { isUtf8 } from 'node:buffer'
import { Busboy } from '@fastify/busboy'
import { RequestError } from '../errors.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'
import { checkTextSize, MAX_TEXT_BYTES } from './body-limits.ts'

/** Three times the fields there are. */
const MAX_PARTS = 64
/** The parser cannot be stopped within one write, and it makes several streams for a part of eight bytes. */
const STEP_BYTES = 8 * 1024
/** RFC 7578, section 4.7: others are deprecated, and no client for HTTP uses them by itself. */
const PLAIN_ENCODINGS: ReadonlySet<string> = new Set(['7bit', '8bit', 'binary'])

/** Throws RequestError `bad_form`, `too_many_words`, and what `body` throws. */
export async function readForm(
  body: AsyncIterable<Uint8Array>,
  type: string,
): Promise<[string, string | Uint8Array][]> {
  const fields: [string, string | Uint8Array][] = []
  let fault: RequestError | undefined
  const fail = (error: RequestError) => {
    fault ??= error
  }
  const take = (name: string | undefined, encoding: string, value: string | Uint8Array) => {
    if (name === undefined) return fail(badForm('each field to have a name', 'one without'))
    if (PLAIN_ENCODINGS.has(encoding)) fields.push([name, value])
    else fail(badForm('fields as they are', 'one with another Content-Transfer-Encoding'))
  }
  const form = open(type)
    .on('partsLimit', () => fail(badForm(`at most ${MAX_PARTS} fields`, 'more')))
    .on('field', (name, value, _nameIsCut, _valueIsCut, encoding) => take(name, encoding, value))
    .on('file', (name, file, filename: string | undefined, encoding) => {
      const chunks: Uint8Array[] = []
      file
        .on('error', (cause) => fail(unreadable(cause)))
        .on('data', (chunk) => chunks.push(chunk))
        .on('end', () => take(name, encoding, pictureOf(Buffer.concat(chunks), filename)))
    })
  const ended = new Promise<void>((resolve) => {
    form.on('finish', resolve).on('error', (cause) => {
      fail(unreadable(cause))
      resolve()
    })
  })
  let words = 0
  for await (const chunk of body) {
    words += chunk.length
    for (let at = 0; at < chunk.length; at += STEP_BYTES) {
      form.write(chunk.subarray(at, at + STEP_BYTES))
      if (fault) throw fault
    }
  }
  form.end()
  await ended
  if (fault) throw fault
  for (const [, value] of fields) if (typeof value !== 'string') words -= value.length
  checkTextSize(words)
  if (fields.length === 0) throw unreadable()
  return fields
}

function open(type: string) {
  try {
    return new Busboy({
      headers: { 'content-type': type },
      isPartAFile: (name) => name === 'image',
      // More than comes: the parser takes each write at once and never waits for a reader.
      fileHwm: 2 * MAX_PICTURE_BYTES,
      // What is past the last three would be cut off silently; checkWords refuses all of it.
      limits: {
        parts: MAX_PARTS,
        fieldSize: MAX_TEXT_BYTES,
        headerSize: MAX_TEXT_BYTES,
        headerPairs: MAX_TEXT_BYTES,
      },
    })
  } catch (cause) {
    throw badForm('a boundary of at most 70 characters in the Content-Type', 'none of that kind', cause)
  }
}

/** Some clients send bytes without a file name. What is text then, as `-F image=picture.jpg` sends it, is no file. */
function pictureOf(bytes: Buffer, filename: string | undefined): string | Uint8Array {
  if (filename === undefined && isUtf8(bytes)) return bytes.toString()
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

function unreadable(cause?: unknown): RequestError {
  return badForm(
    'a multipart form (RFC 7578) with lines that end with CRLF',
    'one that could not be read',
    cause,
  )
}

function badForm(expected: string, got: string, cause?: unknown): RequestError {
  return new RequestError(
    'bad_form',
    `Expected ${expected} but got ${got}. With curl: -F image=@picture.jpg`,
    {
      cause,
    },
  )
}

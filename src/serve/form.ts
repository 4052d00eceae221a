// A multipart form -> its fields by name: bytes for the picture, text for the rest. @fastify/busboy parses it; this file
// has the limits and the error messages.
//
//   Content-Type, chunks of the body -> [['image', bytes], ['question', 'What is it?'], ...]
//
// Lines must end with CRLF (RFC 2046, section 4.1.1). Text before the first boundary and after the last is ignored, and so
// is a part whose headers are not those of a form field.

import { isUtf8 } from 'node:buffer'
import { once } from 'node:events'
import { Busboy } from '@fastify/busboy'
import { RequestError } from '../errors.ts'
import { MAX_PICTURE_BYTES } from '../image/format.ts'

const KIB = 1024
/** Limit of a body without its picture: question, history, settings, and the syntax around them. */
export const MAX_TEXT_BYTES = 256 * KIB
/** Three times the number of fields. */
const MAX_PARTS = 64
/** The parser cannot be stopped within one write, and it makes several streams for a part of eight bytes. */
const STEP_BYTES = 8 * KIB
/** Other Content-Transfer-Encodings are deprecated (RFC 7578, section 4.7), and no HTTP client uses them by itself. */
const PLAIN_ENCODINGS: ReadonlySet<string> = new Set(['7bit', '8bit', 'binary'])

/** @throws RequestError `too_many_words` */
export function checkTextSize(sizeBytes: number): void {
  if (sizeBytes <= MAX_TEXT_BYTES) return
  const message = `Expected at most ${MAX_TEXT_BYTES / KIB} KiB of text and settings beside the picture but got more. Send a shorter history.`
  throw new RequestError('too_many_words', message)
}

/** @throws RequestError `bad_form`, `too_many_words`, and what `body` throws */
export async function readForm(
  body: AsyncIterable<Uint8Array>,
  type: string,
): Promise<[string, string | Uint8Array][]> {
  const fields: [string, string | Uint8Array][] = []
  let fault: RequestError | undefined
  const fail = (error: RequestError) => {
    fault ??= error
  }
  const add = (name: string | undefined, encoding: string, value: string | Uint8Array) => {
    if (name === undefined) return fail(badForm('each field to have a name', 'one without'))
    if (PLAIN_ENCODINGS.has(encoding)) fields.push([name, value])
    else fail(badForm('fields that are not encoded', 'one with another Content-Transfer-Encoding'))
  }
  const form = openParser(type)
    .on('partsLimit', () => fail(badForm(`at most ${MAX_PARTS} fields`, 'more')))
    .on('field', (name, value, _nameIsCut, _valueIsCut, encoding) => add(name, encoding, value))
    .on('file', (name, file, filename: string | undefined, encoding) => {
      const chunks: Uint8Array[] = []
      file
        .on('error', (cause) => fail(unreadable(cause)))
        .on('data', (chunk) => chunks.push(chunk))
        .on('end', () => add(name, encoding, pictureOf(Buffer.concat(chunks), filename)))
    })
  const ended = once(form, 'finish').catch((cause: unknown) => fail(unreadable(cause)))
  let textBytes = 0
  for await (const chunk of body) {
    textBytes += chunk.length
    for (let at = 0; at < chunk.length; at += STEP_BYTES) {
      form.write(chunk.subarray(at, at + STEP_BYTES))
      if (fault) throw fault
    }
  }
  form.end()
  await ended
  if (fault) throw fault
  for (const [, value] of fields) if (typeof value !== 'string') textBytes -= value.length
  checkTextSize(textBytes)
  if (fields.length === 0) throw unreadable()
  return fields
}

function openParser(type: string) {
  try {
    return new Busboy({
      headers: { 'content-type': type },
      isPartAFile: (name) => name === 'image',
      // More than a body may have, so that each write is parsed at once and no reader is waited for.
      fileHwm: 2 * MAX_PICTURE_BYTES,
      // The parser cuts off what exceeds the last three without an error; checkTextSize refuses the form then.
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

/** Some clients send a file without its name. Text without one is no file: `curl -F image=picture.jpg` sends it. */
function pictureOf(bytes: Buffer, filename: string | undefined): string | Uint8Array {
  if (filename === undefined && isUtf8(bytes)) return bytes.toString()
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

function unreadable(cause?: unknown): RequestError {
  const expected = 'a multipart form (RFC 7578) with lines that end with CRLF'
  return badForm(expected, 'one that could not be read', cause)
}

function badForm(expected: string, got: string, cause?: unknown): RequestError {
  const message = `Expected ${expected} but got ${got}. With curl: -F image=@picture.jpg`
  return new RequestError('bad_form', message, { cause })
}

// A JSON body with pictures in base64 -> the parsed JSON, in which each picture is a number, and the pictures.
//
// Base64 is taken out before the rest is parsed: JSON.parse takes seconds for megabytes of brackets, and this thread serves
// every request.

import { RequestError } from '../errors.ts'
import { fromBase64 } from './fields.ts'
import { checkTextSize } from './form.ts'

/** Base64 of a data URL, in a JSON string: some writers escape `/`, and line breaks always are. */
const IN_DATA_URL = /;base64,([A-Za-z0-9+/=\\]+)/g
/** Plain base64 that is longer than any text in its place would be, in a field for a picture. */
const IN_FIELD = /("(?:image|image_base64)"\s*:\s*")([A-Za-z0-9+/=\\]{100,})"/g

/** @throws RequestError `bad_json`, `too_many_words` */
export function parseWithPictures(body: Buffer): { json: unknown; pictures: string[] } {
  const pictures: string[] = []
  const take = (base64: string) => {
    pictures.push(base64.replaceAll('\\/', '/').replace(/\\[nr]/g, ''))
    return `#${pictures.length - 1}`
  }
  const rest = body
    .toString('latin1')
    .replace(IN_DATA_URL, (_, base64: string) => `;base64,${take(base64)}`)
    .replace(IN_FIELD, (_, before: string, base64: string) => `${before}data:;base64,${take(base64)}"`)
  checkTextSize(rest.length)
  try {
    const json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(rest, 'latin1')))
    return { json, pictures }
  } catch {
    // The parser's own message quotes the body, which may hold a question.
    throw new RequestError('bad_json', 'Expected the body to be JSON in UTF-8 but could not read it.')
  }
}

/** @throws RequestError `picture_forbidden`, `bad_base64`, `picture_too_large` */
export function pictureAt(url: string, pictures: readonly string[]): Uint8Array {
  if (/^https?:/i.test(url)) {
    const message =
      'Expected a picture as a data URL but got an address. Glimpse fetches no addresses: send "data:image/png;base64,...".'
    throw new RequestError('picture_forbidden', message)
  }
  return fromBase64(url.replace(/#(\d+)$/, (_, index) => pictures[Number(index)] ?? ''))
}

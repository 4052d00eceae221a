// The errors of a picture that cannot be read: RequestErrors that say what was expected and what to do.

import { RequestError } from '../errors.ts'
import { ACCEPTED, type Format } from './format.ts'

/** `got` names the kind: `a HEIC picture`, `a TIFF file compressed by Zstandard`. */
export function notAPicture(got: string, cause?: unknown): RequestError {
  return new RequestError('not_a_picture', `Expected ${ACCEPTED} but got ${got}. Send it as JPEG or PNG.`, {
    cause,
  })
}

export function damaged(format: Format, cause?: unknown): RequestError {
  const message = `Expected a complete ${format.toUpperCase()} picture but got one that is cut off or damaged. Save it again and send the new file.`
  return new RequestError('damaged_picture', message, { cause })
}

export function tooLarge(what: string, cause?: unknown): RequestError {
  return new RequestError('picture_too_large', `Expected ${what}. Send a smaller copy.`, { cause })
}

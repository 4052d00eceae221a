// What the asker of a picture that is too large reads: the limit that was exceeded, in its own unit.

import { expect, test } from 'vitest'
import { problemText } from '../../src/chat/problems.ts'
import { messagesFor } from '../../src/i18n/languages.ts'
import { MAX_PICTURE_BYTES, MAX_PIXELS } from '../../src/image/format.ts'
import { tooLarge } from '../../src/image/refusal.ts'

test.each(['en', 'de', 'es', 'fr', 'ja'])('in %s pixels are called pixels, and bytes megabytes', (locale) => {
  const messages = messagesFor(locale)
  const bytes = problemText(tooLarge(`at most ${MAX_PICTURE_BYTES} bytes but got 99999999`), messages)
  const pixels = problemText(tooLarge(`at most ${MAX_PIXELS} pixels but got 12000 x 9000`), messages)
  expect(bytes).toMatch(/20\s(MB|Mo)/u)
  expect(pixels).not.toMatch(/MB|Mo\b/)
  expect(pixels).toMatch(/50/)
})

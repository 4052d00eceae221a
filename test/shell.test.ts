// Quoting of printed commands: sh parses each quoted word back to the original.

import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { curlField, shellWord } from '../src/shell.ts'

const WORDS = [
  'plain/path-1.png',
  'two words',
  "it's",
  '$HOME `id` "x"',
  '',
  'a;b',
  '*',
  '~/a',
  'é\\ü',
  '#a',
  '!x',
]

test.each(WORDS)('sh parses %j unchanged', (word) => {
  expect(execFileSync('sh', ['-c', `printf %s ${shellWord(word)}`], { encoding: 'utf8' })).toBe(word)
})

test('a plain path is not quoted; a form field is quoted for curl where needed', () => {
  expect(shellWord('../models/a.png')).toBe('../models/a.png')
  expect(curlField('image', '../a.png')).toBe('image=@../a.png')
  expect(curlField('image', 'my pictures/a.png')).toBe("'image=@my pictures/a.png'")
  expect(curlField('image', 'a;"b".png')).toBe(`'image=@"a;\\"b\\".png"'`)
})

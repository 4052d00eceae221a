// A question and what was said before -> the text the model was trained on.

import { expect, test } from 'vitest'
import { blip2Opt } from '../../src/model/blip2-opt.ts'
import { toPrompt } from '../../src/tokens/prompt.ts'

const BLIP2 = blip2Opt.plan({}, { untied: false, canBuild: '' }).description.prompt

test.each([
  ['nothing asked is a caption', undefined, [], ''],
  ['only spaces are nothing asked', ' \n ', [{ question: 'a', answer: 'b' }], ''],
  ['a question', ' what is it? ', [], 'Question: what is it? Answer:'],
  [
    'earlier exchanges, each answer ended once',
    'and there?',
    [
      { question: 'what is it?', answer: ' a dog ' },
      { question: 'sure?', answer: 'yes!' },
    ],
    'Question: what is it? Answer: a dog. Question: sure? Answer: yes! Question: and there? Answer:',
  ],
  [
    'lines become one',
    ' what\n is\r\n\r\n it? ',
    [{ question: 'a\nb', answer: 'c\u2028d' }],
    'Question: a b Answer: c d. Question: what is it? Answer:',
  ],
])('%s', (_, question, history, prompt) => {
  expect(toPrompt(BLIP2, question, history)).toBe(prompt)
})

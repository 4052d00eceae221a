// A question and the turns before it -> a prompt in the form that the model was trained on, which its manifest holds.
//
//   "Question: what is it? Answer: a dog. Question: what color is it? Answer:"
//
// That one is BLIP-2's with OPT: Li et al. 2023, section 4.1; several turns as in LAVIS' README.

import type { Manifest } from '../artifact/contract.ts'

/** A question about a picture and its answer. */
export interface Turn {
  question: string
  answer: string
}

type PromptForm = Manifest['prompt']

export function toPrompt(
  form: PromptForm,
  question: string | undefined,
  history: readonly Turn[] = [],
): string {
  const asked = oneLine(question ?? '')
  if (asked === '') return form.caption
  return [...history.map((turn) => turnText(form, turn)), filled(form.question, { question: asked })].join(
    ' ',
  )
}

/** The text of a turn in the prompt. A space separates it from its neighbours. */
export function turnText({ turn }: PromptForm, { question, answer }: Turn): string {
  return filled(turn, { question: oneLine(question), answer: withPeriod(oneLine(answer)) })
}

/** Each {name} is replaced once, so braces in a question stay text. */
function filled(template: string, values: Record<string, string>): string {
  return template.replace(/\{(\w+)\}/g, (name, key: string) => values[key] ?? name)
}

/** OPT checkpoints end a text with a newline. One inside a question would end it before the answer. */
function oneLine(text: string): string {
  // Matches whole runs of white space. A pattern for the line break inside a run takes quadratic time.
  return text.replace(/\s+/g, (run) => (/[\r\n\u2028\u2029]/.test(run) ? ' ' : run)).trim()
}

function withPeriod(answer: string): string {
  return /[.!?]$/.test(answer) ? answer : `${answer}.`
}

// A question and the turns before it -> a prompt in the form that BLIP-2 was trained on.
//
//   "Question: what is it? Answer: a dog. Question: what color is it? Answer:"
//
// Source: Li et al. 2023, section 4.1; several turns as in LAVIS' README. The prompt of a caption is empty.

/** A question about a picture and its answer. */
export interface Turn {
  question: string
  answer: string
}

export function toPrompt(question: string | undefined, history: readonly Turn[] = []): string {
  const asked = oneLine(question ?? '')
  if (asked === '') return ''
  return [...history.map(turnText), `Question: ${asked} Answer:`].join(' ')
}

/** The text of a turn in the prompt. A space separates it from its neighbours. */
export function turnText({ question, answer }: Turn): string {
  return `Question: ${oneLine(question)} Answer: ${withPeriod(oneLine(answer))}`
}

/** OPT checkpoints end a text with a newline. One inside a question would end it before the answer. */
function oneLine(text: string): string {
  // Matches whole runs of white space. A pattern for the line break inside a run takes quadratic time.
  return text.replace(/\s+/g, (run) => (/[\r\n\u2028\u2029]/.test(run) ? ' ' : run)).trim()
}

function withPeriod(answer: string): string {
  return /[.!?]$/.test(answer) ? answer : `${answer}.`
}

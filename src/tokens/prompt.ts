// A question and what was said before -> the text BLIP-2 was trained on.
//
//   "Question: what is it? Answer: a dog. Question: what color is it? Answer:"
//
// Li et al. 2023, section 4.1; the chat form is that of LAVIS' README. A caption's prompt is empty.

/** One finished exchange of a conversation about a picture. */
export interface Turn {
  question: string
  answer: string
}

export function toPrompt(question: string | undefined, history: readonly Turn[] = []): string {
  const asked = oneLine(question ?? '')
  if (asked === '') return ''
  return [...history.map(turnText), `Question: ${asked} Answer:`].join(' ')
}

/** A turn as it stands in the prompt, a space before and behind it. */
export function turnText({ question, answer }: Turn): string {
  return `Question: ${oneLine(question)} Answer: ${ended(oneLine(answer))}`
}

/** OPT's checkpoints end their texts with a newline: one in a question would end the text before the answer. */
function oneLine(text: string): string {
  // Whole runs of white space: a pattern that looks for the break inside them takes the square of their length.
  return text.replace(/\s+/g, (run) => (/[\r\n\u2028\u2029]/.test(run) ? ' ' : run)).trim()
}

function ended(answer: string): string {
  return /[.!?]$/.test(answer) ? answer : `${answer}.`
}

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
  const before = history.map(
    (turn) => `Question: ${oneLine(turn.question)} Answer: ${ended(oneLine(turn.answer))}`,
  )
  return [...before, `Question: ${asked} Answer:`].join(' ')
}

/** OPT's checkpoints end their texts with a newline: one in a question would end the text before the answer. */
function oneLine(text: string): string {
  return text.replace(/\s*[\r\n\u2028\u2029]\s*/g, ' ').trim()
}

function ended(answer: string): string {
  return /[.!?]$/.test(answer) ? answer : `${answer}.`
}

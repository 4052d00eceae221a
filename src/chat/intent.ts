// The words of a message -> whether they ask a question, ask for a caption, or are small talk. The patterns are English,
// as is the model; a question mark counts in every script.

const OPENERS =
  /^(and |so |ok |okay |but |now )?(what|who|whose|whom|where|when|why|which|how|is|are|was|were|am|do|does|did|can|could|has|have|would|should|isn'?t|aren'?t|describe|count|name|tell me|tell us)\b/i

/** Whether a message in a thread asks about its picture, rather than talks about it. */
export function looksLikeQuestion(text: string): boolean {
  const trimmed = text.trim()
  return /[?？؟]["'”’)\]]*$/.test(trimmed) || OPENERS.test(trimmed)
}

const CAPTION_REQUEST =
  /^(please )?((can|could) you )?(describe|caption|(give me )?(an )?alt[- ]?text)( for)?( (this|that|it|the))?( (picture|image|photo|pic))?( please)?[\s.!?]*$/i

/** `describe this`, `alt text please`: the model answers these better with a caption than as a question. */
export function wantsCaption(text: string): boolean {
  return CAPTION_REQUEST.test(text.trim())
}

const SMALL_TALK =
  /^(thanks?|thank you|thx|ty|danke|gracias|merci|ありがとう\S*|ok(ay)?|nice( one)?|cool|great|wow|lol|haha\w*|good (bot|job|one)|perfect|yes|no|yep|nope)( (so|very) much|!| a lot| you)*[\s.!]*$/i

/** `thanks!`: addresses the bot and needs no answer. */
export function isSmallTalk(text: string): boolean {
  return SMALL_TALK.test(text.trim()) || !/[\p{Letter}\p{Number}?]/u.test(text)
}

// Text that ends before the first of some strings, whole or in pieces.

/** `text` up to the first of `stops`. */
export function cutAtStop(text: string, stops: readonly string[]): string {
  const ends = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0)
  return ends.length === 0 ? text : text.slice(0, Math.min(...ends))
}

/** The part of `text` that no later piece can take back: without an end that may be the beginning of a stop. */
export function settledBeforeStop(text: string, stops: readonly string[]): string {
  const cut = cutAtStop(text, stops)
  if (cut.length < text.length) return cut
  const longest = Math.max(0, ...stops.map((stop) => stop.length - 1))
  for (let length = Math.min(longest, text.length); length > 0; length--) {
    const end = text.slice(-length)
    if (stops.some((stop) => stop.startsWith(end))) return text.slice(0, -length)
  }
  return text
}

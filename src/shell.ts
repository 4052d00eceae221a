// Quoting for command lines that users paste into a shell.

/**
 * Quotes a word for a POSIX shell.
 * @example shellWord("it's") // 'it'\''s'
 */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** A file as an argument of curl -F, in which ; , and " have special meanings (curl's manual, -F). */
export function curlField(name: string, path: string): string {
  const file = /[;,"\\]/.test(path) ? `"${path.replace(/["\\]/g, '\\$&')}"` : path
  return shellWord(`${name}=@${file}`)
}

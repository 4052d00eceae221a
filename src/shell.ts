// Words of a command line that somebody will paste.

/**
 * The word as a POSIX shell takes it for itself.
 * @example shellWord("it's") // 'it'\''s'
 */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** A file as a field of curl's -F, where ; , and " have meanings of their own (curl's manual, -F). */
export function curlField(name: string, path: string): string {
  const file = /[;,"\\]/.test(path) ? `"${path.replace(/["\\]/g, '\\$&')}"` : path
  return shellWord(`${name}=@${file}`)
}

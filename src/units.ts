// Sizes in bytes -> text for people.

/**
 * Megabytes of 1,000,000 bytes, as disks and downloads count them; below 10 MB with one decimal.
 * @example megabytes(1_810_400_000) // '1810 MB'
 */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 10e6 ? 1 : 0)} MB`
}
